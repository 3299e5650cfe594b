"""Download one file from the user's package index: with progress, resumed after an interruption, checked at the end."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from openai_batch.errors import DownloadError, UnreachableError
from openai_batch.net.transfer import DownloadResponse, transfer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Progress = Callable[[str, int, int | None], None]
"""Called with the name of the file, the bytes so far, and the bytes in all (None: unknown)."""

_SECONDS = 60
_CHUNK = 1 << 18
_NO_SUCH_RANGE = 416


class FetchError(Exception):
    """The file could not be downloaded from one of its sources; the message says why."""


def download(
    url: str,
    part: Path,
    opener: urllib.request.OpenerDirector,
    *,
    what: str,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Download `url` into `part`, after the bytes that an earlier attempt left there.

    `what` names the file for `progress` and in errors. After an error the bytes stay for the next attempt. Raises
    FetchError; if the file does not have the given SHA-256, its bytes are removed. Without a SHA-256 the caller must
    check them.
    """

    def read(offset: int, _etag: str | None) -> contextlib.AbstractContextManager[DownloadResponse]:
        return _response(url, opener, offset)

    def tell(done: int, total: int | None) -> None:
        if progress is not None:
            progress(what, done, total)

    try:
        with part.open("a+b") as out:
            transfer(read, out, what, verified=True, progress=tell)
    except (DownloadError, OSError) as exc:
        raise FetchError(str(exc)) from exc
    if sha256 is not None:
        with part.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != sha256.lower():
                part.unlink()
                raise FetchError("the downloaded file does not have the SHA-256 of the index")


def request(url: str, headers: dict[str, str] | None = None) -> urllib.request.Request:
    """Return a request for `url`. A user and a password in it become a header, which no redirect carries on."""
    parts = urlsplit(url)
    clean = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    made = urllib.request.Request(clean, headers=headers or {})  # noqa: S310 - the user's own index
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        made.add_unredirected_header("Authorization", "Basic " + b64encode(pair.encode()).decode())
    return made


@contextlib.contextmanager
def _response(url: str, opener: urllib.request.OpenerDirector, offset: int) -> Iterator[DownloadResponse]:
    """Ask for the bytes of `url` from `offset` on. Raises FetchError for an HTTP error, else UnreachableError."""
    try:
        with _unreachable():
            reply = opener.open(request(url, {"Range": f"bytes={offset}-"} if offset else None), timeout=_SECONDS)
    except urllib.error.HTTPError as exc:
        with exc:
            if exc.code != _NO_SUCH_RANGE or not offset:
                raise FetchError(f"HTTP {exc.code}") from exc
            yield DownloadResponse(exc.code, {}, iter(()))
        return
    with reply:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        yield DownloadResponse(getattr(reply, "status", None) or 200, headers, _chunks(reply))


def _chunks(reply: http.client.HTTPResponse) -> Iterator[bytes]:
    with _unreachable():
        while chunk := reply.read(_CHUNK):
            yield chunk


@contextlib.contextmanager
def _unreachable() -> Iterator[None]:
    """Turn the errors of a connection, but not an HTTP status, into UnreachableError."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as exc:
        reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
        raise UnreachableError(str(reason) or type(exc).__name__) from exc
