"""Download a file completely over a connection that breaks, slows down, or announces a wrong length.

A broken download goes on where it stopped only if the server proves that it can: a 206 that starts at our offset,
with the same total, under the same strong ETag. Anything else starts from the front. Callers that check a digest
afterwards need no ETag.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import ApiError, DownloadError, UnreachableError

from .delays import delays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

MIN_RATE = 1000
"""Bytes a second, on average over `RATE_SPAN`: a slower connection is taken for a broken one."""

RATE_SPAN = 60.0
"""Seconds over which the rate is measured."""

MAX_TRIES, MAX_CONNECTS = 5, 10
"""Tries in a row without new bytes before giving up; the second is for tries that cannot even connect."""

_PARTIAL, _NO_SUCH_RANGE = 206, 416
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class DownloadResponse:
    """A server's response to one request for a file, or for the rest of it."""

    status: int
    """The HTTP status: 200, 206, or 416 if nothing lies beyond the offset."""
    headers: Mapping[str, str]
    """The headers, with names in lower case."""
    chunks: Iterator[bytes]
    """The body. Reading it raises ApiError if the connection breaks."""

    @property
    def length(self) -> int | None:
        """The announced length of the body in bytes, unless it is encoded for the transfer."""
        if self.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            return None
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def strong_etag(self) -> str | None:
        """The ETag, if it stands for every byte of the file."""
        etag = self.headers.get("etag", "")
        return etag if etag.startswith('"') else None

    def total_from(self, offset: int) -> int | None:
        """Return the size of the whole file if this is exactly the rest of it after `offset` bytes, else None."""
        match = _RANGE.fullmatch(self.headers.get("content-range", ""))
        if self.status != _PARTIAL or match is None:
            return None
        first, last, total = (int(number) for number in match.groups())
        fits = self.length is None or self.length == last - first + 1
        return total if first == offset and last == total - 1 and fits else None


@dataclass(slots=True)
class _State:
    """What is known of the file after the tries so far."""

    target: BinaryIO
    """The file that is written, for reading, writing and seeking."""
    progress: Callable[[int, int | None], None] | None
    """Called with the bytes written and the bytes in all (None: unknown)."""
    verified: bool
    """Whether the caller checks a digest, so that a range needs no ETag."""
    offset: int = 0
    """The good bytes in `target`."""
    total: int | None = None
    """The size of the file as announced, in bytes."""
    etag: str | None = None
    """The strong ETag of the bytes in `target`."""
    ranges: bool = False
    """Whether the server says that it can send a part of the file."""

    @property
    def resumable(self) -> bool:
        return bool(self.offset and (self.verified or (self.ranges and self.etag and self.total)))

    def resumes(self, response: DownloadResponse) -> bool:
        """Tell whether `response` is the rest of the file; if so, its total is known from now on."""
        total = response.total_from(self.offset)
        if self.verified:
            same = total is not None and self.total in (None, total)
        else:
            same = total is not None and total == self.total and response.strong_etag == self.etag
        if same:
            self.total = total
        return same

    def restart(self, response: DownloadResponse) -> None:
        """Start from the front, with what `response` says about the file."""
        self.offset, self.total, self.etag = 0, response.length, response.strong_etag
        self.ranges = response.headers.get("accept-ranges", "").lower() == "bytes"


def transfer(
    read: Callable[[int, str | None], AbstractContextManager[DownloadResponse]],
    target: BinaryIO,
    name: str,
    *,
    verified: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[int, int | None]:
    """Download a file into `target`; return (bytes in `target`, bytes announced or None).

    `read(offset, etag)` asks for the file from an offset on, on condition that it is still the same; it raises ApiError
    where that fails. With `verified` the caller checks a digest afterwards: then bytes that `target` holds already are
    kept, and the rest is appended without proof by an ETag. `name` names the file in errors. `progress` is called with
    the bytes so far and the bytes in all (None: unknown).
    Raises DownloadError if every try ended early, and any error of `read` that does not pass by itself.
    """
    state = _State(target, progress, verified)
    if verified:
        state.offset = target.seek(0, os.SEEK_END)
    tries, best, pauses = 0, state.offset, _pauses()
    while True:
        try:
            _try(read, state)
        except ApiError as exc:
            if not exc.passes:
                raise
            reason, asked = str(exc), exc.retry_after
            most = MAX_CONNECTS if isinstance(exc, UnreachableError) and not exc.sent else MAX_TRIES
        else:
            if state.total is None or state.offset == state.total:
                return state.offset, state.total
            reason, asked, most = f"it ended after {state.offset:,} of {state.total:,} bytes", None, MAX_TRIES
            if state.offset > state.total:
                best, state.offset = max(best, state.offset), 0
        if state.resumable and state.offset > best:
            tries, best, pauses = 0, state.offset, _pauses()
        tries, best = tries + 1, max(best, state.offset)
        if tries >= most:
            raise DownloadError(
                f"{name} could not be downloaded whole: {reason}",
                hint="nothing was published; the same command again starts anew",
            )
        sleep(max(next(pauses), asked or 0.0))


def _pauses() -> Iterator[float]:
    return delays(0.5, longest=15.0)


def _try(read: Callable[[int, str | None], AbstractContextManager[DownloadResponse]], state: _State) -> None:
    """Send one request and write what it brings. Raises ApiError if the connection breaks or is too slow."""
    start = state.offset if state.resumable else 0
    with read(start, state.etag if start else None) as response:
        if not (start and state.resumes(response)):
            state.restart(response)
            if response.status in (_PARTIAL, _NO_SUCH_RANGE):
                state.total, state.ranges = None, False
                raise UnreachableError("the server did not send the part of the file that was asked for")
        state.target.seek(state.offset)
        state.target.truncate()
        since, then = time.monotonic(), state.offset
        for chunk in response.chunks:
            state.target.write(chunk)
            state.offset += len(chunk)
            if state.progress is not None:
                state.progress(state.offset, state.total)
            now = time.monotonic()
            if now - since >= RATE_SPAN:
                if state.offset - then < MIN_RATE * RATE_SPAN:
                    raise UnreachableError(f"less than {MIN_RATE:,} bytes a second came")
                since, then = now, state.offset
