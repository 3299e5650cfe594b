"""Download one file: shown while it comes, resumed where it broke off, checked at its end."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from pathlib import Path

Progress = Callable[[str, int, int | None], None]
"""Hears what is being fetched, the bytes that are there, and the bytes in all where that is known."""

_TRIES = 5
_PAUSE = 0.5
_SECONDS = 60
_CHUNK = 1 << 18


class FetchError(Exception):
    """The file did not come; the message says why."""


def fetch(
    url: str,
    part: Path,
    opener: urllib.request.OpenerDirector,
    *,
    what: str,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Download `url` into `part`, going on after the bytes that are there already.

    A broken connection is taken up again a few times; what has come stays for the next attempt.
    Raises FetchError; if the SHA-256 is not the given one, the bytes are removed as well.
    """
    for attempt in range(_TRIES):
        try:
            _pull(url, part, opener, what, progress)
            break
        except urllib.error.HTTPError as exc:
            with exc:
                raise FetchError(f"HTTP {exc.code}") from exc
        except (OSError, http.client.HTTPException) as exc:
            if attempt == _TRIES - 1:
                raise FetchError(_reason(exc)) from exc
            time.sleep(_PAUSE * 2**attempt)
    if sha256 is not None:
        with part.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != sha256.lower():
                part.unlink()
                raise FetchError("the bytes that came are not those that the index promises (SHA-256)")


def request(url: str, headers: dict[str, str] | None = None) -> urllib.request.Request:
    """Return a request for `url`, with a user and password in it turned into a header for that host alone."""
    parts = urlsplit(url)
    clean = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    made = urllib.request.Request(clean, headers=headers or {})  # noqa: S310 - the user's own index
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        made.add_unredirected_header("Authorization", "Basic " + b64encode(pair.encode()).decode())
    return made


def _pull(url: str, part: Path, opener: urllib.request.OpenerDirector, what: str, progress: Progress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    try:
        reply = opener.open(request(url, {"Range": f"bytes={have}-"} if have else None), timeout=_SECONDS)
    except urllib.error.HTTPError as exc:
        if exc.code != 416 or not have:  # noqa: PLR2004 - nothing lies beyond what is there
            raise
        exc.close()
        part.unlink()
        raise ConnectionError("the part that was there does not fit") from None
    with reply:
        resumed = getattr(reply, "status", None) == 206 and _starts_at(reply.headers.get("Content-Range", ""), have)  # noqa: PLR2004
        done = have if resumed else 0
        length = reply.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        with part.open("ab" if resumed else "wb") as out:
            while piece := reply.read(_CHUNK):
                out.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(what, done, total)
    if total is not None and done < total:
        raise ConnectionError("the connection broke off")


def _starts_at(content_range: str, offset: int) -> bool:
    return content_range.startswith(f"bytes {offset}-")


def _reason(exc: Exception) -> str:
    reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    return str(reason) or type(exc).__name__
