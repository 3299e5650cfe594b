"""Download a file completely over a connection that breaks, slows down, or announces a wrong length.

A broken download continues where it stopped only if the server proves that the rest belongs to the same file: a 206
that starts at our offset, with the same total size and the same strong ETag. Otherwise it starts from the beginning.
Callers that check a digest afterwards need no ETag.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import ApiError, DownloadError, UnreachableError

from .delays import delays
from .time_limit import seconds_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

MIN_RATE = 1000  # bytes per second, on average over `RATE_SPAN`. A slower connection counts as broken.
RATE_SPAN = 60.0  # seconds over which the rate is measured

MAX_TRIES, MAX_CONNECTS = 5, 10
"""The most tries in a row without new bytes; the second is for tries that cannot even connect."""

_PARTIAL, _NO_SUCH_RANGE = 206, 416
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class DownloadResponse:
    """A server's response to one request for a file, or for the rest of it."""

    status: int  # the HTTP status: 200, 206, or 416 if the file ends before the offset
    headers: Mapping[str, str]  # the headers, with names in lower case
    chunks: Iterator[bytes]  # the body. Reading it raises ApiError if the connection breaks.

    @property
    def length(self) -> int | None:
        """The length of the body in bytes, as the headers say; None if unknown, or if the body is compressed."""
        if self.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            return None
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def strong_etag(self) -> str | None:
        """The ETag if it is a strong one, which changes with every byte of the file; else None."""
        etag = self.headers.get("etag", "")
        return etag if etag.startswith('"') else None

    def total_from(self, offset: int) -> int | None:
        """Return the size of the whole file if the response is exactly its rest after `offset` bytes, else None."""
        match = _RANGE.fullmatch(self.headers.get("content-range", ""))
        if self.status != _PARTIAL or match is None:
            return None
        first, last, total = (int(number) for number in match.groups())
        fits = self.length is None or self.length == last - first + 1
        return total if first == offset and last == total - 1 and fits else None


@dataclass(slots=True)
class _State:
    """What is known about the file after the tries so far."""

    target: BinaryIO  # the file that is written; it must be readable and seekable too
    # Called with the number of bytes so far and of all bytes (None: unknown).
    progress: Callable[[int, int | None], None] | None
    verified: bool  # whether the caller checks a digest, so that no ETag is needed to continue
    offset: int = 0  # the number of good bytes in `target`
    total: int | None = None  # the size of the file in bytes, as the server said; None if unknown
    etag: str | None = None  # the strong ETag of the bytes in `target`, or None
    ranges: bool = False  # whether the server says that it can send a part of the file

    @property
    def resumable(self) -> bool:
        return bool(self.offset and (self.verified or (self.ranges and self.etag and self.total)))

    def resumes(self, response: DownloadResponse) -> bool:
        """Return whether `response` is the rest of the file. If it is, remember the total size."""
        total = response.total_from(self.offset)
        if self.verified:
            same = total is not None and self.total in (None, total)
        else:
            same = total is not None and total == self.total and response.strong_etag == self.etag
        if same:
            self.total = total
        return same

    def restart(self, response: DownloadResponse) -> None:
        """Start from the beginning, with what `response` says about the file."""
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
    """Download a file into `target`. Return (bytes in `target`, their number as the response itself shows it, or None).

    `read(offset, etag)` requests the file from an offset on, if it still has that ETag; it raises ApiError if that
    fails. With `verified`, the caller checks a digest afterwards: then bytes that are already in `target` are kept, and
    the rest is appended without an ETag. `name` is the file's name for errors. `progress` is called with the number of
    bytes so far and of all bytes (None: unknown).
    Raises DownloadError if every try ended early, and any error of `read` that a new try would not solve.
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
            reason, retry_after = str(exc), exc.retry_after
            max_tries = MAX_CONNECTS if isinstance(exc, UnreachableError) and not exc.sent else MAX_TRIES
        else:
            if state.total is None or state.offset == state.total:
                return state.offset, state.total
            reason, retry_after = f"it ended after {state.offset:,} of {state.total:,} bytes", None
            max_tries = MAX_TRIES
            if state.offset > state.total:
                best, state.offset = max(best, state.offset), 0
        if state.resumable and state.offset > best:
            tries, best, pauses = 0, state.offset, _pauses()
        tries, best = tries + 1, max(best, state.offset)
        pause, left = max(next(pauses), retry_after or 0.0), seconds_left(None)
        if tries >= max_tries or (left is not None and pause >= left):
            raise DownloadError(
                f"{name} could not be downloaded completely: {reason}",
                hint="nothing was written; run the same command again",
            )
        sleep(pause)


def _pauses() -> Iterator[float]:
    return delays(0.5, longest=15.0)


def _try(read: Callable[[int, str | None], AbstractContextManager[DownloadResponse]], state: _State) -> None:
    """Send one request and write the bytes that come. Raises ApiError if the connection breaks or is too slow."""
    start = state.offset if state.resumable else 0
    with read(start, state.etag if start else None) as response:
        if not (start and state.resumes(response)):
            state.restart(response)
            if response.status in (_PARTIAL, _NO_SUCH_RANGE):
                state.total, state.ranges = None, False
                raise UnreachableError("the server did not send the part of the file that was asked for")
        state.target.seek(state.offset)
        state.target.truncate()
        span_start, span_offset = time.monotonic(), state.offset
        for chunk in response.chunks:
            state.target.write(chunk)
            state.offset += len(chunk)
            if state.progress is not None:
                state.progress(state.offset, state.total)
            now = time.monotonic()
            if now - span_start >= RATE_SPAN:
                if state.offset - span_offset < MIN_RATE * RATE_SPAN:
                    raise UnreachableError(f"the download was slower than {MIN_RATE:,} bytes per second")
                span_start, span_offset = now, state.offset
        if state.total is None and response.headers.get("transfer-encoding", "").lower() == "chunked":
            state.total = state.offset  # the last chunk says that this is the end
