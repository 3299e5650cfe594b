"""Read a remote file to its end over a line that breaks, slows down, or lies about how much there is.

A broken read goes on where it stopped only if the server proves that it can: a 206 that starts at our offset,
of the same total, under the same strong ETag. Anything else starts from the front.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from .errors import ApiError, DownloadError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

MIN_RATE = 1000
"""Bytes a second, over `RATE_SPAN` seconds: a slower line is taken for a dead one."""

RATE_SPAN = 60.0

MAX_TRIES, MAX_KNOCKS = 5, 10
"""Tries that bring nothing new before giving up: of answers that end early, and where no connection comes about."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a request for a file: its status, its headers (names in lower case), its bytes in chunks."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]

    @property
    def length(self) -> int | None:
        """The announced length of this answer, unless its bytes are encoded on the way."""
        if self.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            return None
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def strong_etag(self) -> str | None:
        """The ETag, if it vouches for every byte."""
        etag = self.headers.get("etag", "")
        return etag if etag.startswith('"') else None

    def continues(self, offset: int, total: int | None, etag: str | None) -> bool:
        """Tell whether this answer is what comes after `offset` bytes of the same file."""
        match = _RANGE.fullmatch(self.headers.get("content-range", ""))
        if self.status != 206 or match is None or etag is None:  # noqa: PLR2004 - partial content
            return False
        first, last, whole = (int(number) for number in match.groups())
        fits = self.length is None or self.length == last - first + 1
        return first == offset and last == whole - 1 and whole == total and self.strong_etag == etag and fits


@dataclass(slots=True)
class _Progress:
    """How far a transfer has come, over all its tries."""

    offset: int = 0
    total: int | None = None
    etag: str | None = None
    ranges: bool = False

    @property
    def resumable(self) -> bool:
        return bool(self.offset and self.ranges and self.etag and self.total)


def transfer(
    read: Callable[[int, str | None], AbstractContextManager[Answer]],
    target: BinaryIO,
    name: str,
    *,
    progress: Callable[[int, int | None], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[int, int | None]:
    """Read a file into `target` and return (bytes written, bytes announced or None).

    `read(offset, etag)` asks for the file from an offset on, under the condition that it is still the same.
    Raises DownloadError if every try ended early, and what `read` raises that does not pass by itself.
    """
    state, tries, best = _Progress(), 0, 0
    while True:
        try:
            _once(read, target, state, progress)
        except ApiError as exc:
            if not exc.passes:
                raise
            reason, wait = str(exc), exc.retry_after
            patience = MAX_KNOCKS if isinstance(exc, UnreachableError) and not exc.sent else MAX_TRIES
        else:
            if state.total is None or state.offset == state.total:
                return state.offset, state.total
            reason, wait = f"it ended after {state.offset:,} of {state.total:,} bytes", None
            patience = MAX_TRIES
            if state.offset > state.total:
                state.ranges = False
        tries = 1 if state.resumable and state.offset > best else tries + 1
        best = max(best, state.offset)
        if tries >= patience:
            raise DownloadError(
                f"{name} could not be downloaded whole: {reason}",
                hint="nothing was published; the same command again starts anew",
            )
        sleep(max(min(2.0 ** (tries - 2), 15.0), wait or 0.0))


def _once(
    read: Callable[[int, str | None], AbstractContextManager[Answer]],
    target: BinaryIO,
    state: _Progress,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    start = state.offset if state.resumable else 0
    with read(start, state.etag if start else None) as answer:
        if not (start and answer.continues(start, state.total, state.etag)):
            state.offset, state.total = 0, answer.length
            state.etag = answer.strong_etag
            state.ranges = answer.headers.get("accept-ranges", "").lower() == "bytes"
            if answer.status == 206:  # noqa: PLR2004 - a stretch that was not asked for, or the wrong one
                state.total, state.ranges = None, False
                raise UnreachableError("the server sent another stretch of the file than was asked for")
        target.seek(state.offset)
        target.truncate()
        since, then = time.monotonic(), state.offset
        for chunk in answer.chunks:
            target.write(chunk)
            state.offset += len(chunk)
            if progress is not None:
                progress(state.offset, state.total)
            now = time.monotonic()
            if now - since >= RATE_SPAN:
                if state.offset - then < MIN_RATE * RATE_SPAN:
                    raise UnreachableError(f"less than {MIN_RATE:,} bytes a second came")
                since, then = now, state.offset
