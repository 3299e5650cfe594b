"""Time limits: a connection is closed when its time is over, even if bytes still arrive.

The timeouts of sockets and HTTP libraries are for one read each. A server that sends a byte now and then never
exceeds them.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

_LAST = 2.0
"""Seconds after a deadline in which all that began before it must end: the last poll begins when the time is over."""

_DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)


def deadline_in(seconds: float | None) -> float | None:
    """Return when `seconds` from now (None: any time) will be over, or the deadline that counts here if it is earlier.

    The time is that of `time.monotonic`; None if there is no deadline. Raises UsageError if it is not a number.
    """
    if seconds is not None and not isinstance(seconds, int | float):
        raise UsageError(f"timeout is {seconds!r}", hint="give a number of seconds, or None")
    ends = (_DEADLINE.get(), None if seconds is None else time.monotonic() + min(seconds, threading.TIMEOUT_MAX))
    return min((end for end in ends if end is not None), default=None)


def until(deadline: float | None) -> contextlib.AbstractContextManager[None]:
    """Within the block, requests and waits for locks end at `deadline`, or at that of a block around it."""
    around = _DEADLINE.get()
    return _set(around if deadline is None else min(deadline, math.inf if around is None else around))


def untimed() -> contextlib.AbstractContextManager[None]:
    """Within the block no deadline counts: its requests must not be interrupted."""
    return _set(None)


@contextlib.contextmanager
def _set(deadline: float | None) -> Iterator[None]:
    token = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def seconds_left(limit: float | None) -> float | None:
    """Return how many of `limit` seconds remain before the deadline that counts here; None if there is neither.

    Close to the deadline a request has `_LAST` seconds, but never beyond `_LAST` seconds after it.
    """
    deadline = _DEADLINE.get()
    if deadline is None:
        return limit
    left = deadline - time.monotonic()
    left = max(0.0, left, min(_LAST, left + _LAST))
    return left if limit is None else min(limit, left)


def within(seconds: float) -> float:
    """Return `seconds`, or those before the deadline that counts here if they are fewer."""
    deadline = _DEADLINE.get()
    return seconds if deadline is None else min(seconds, deadline - time.monotonic())


def is_over() -> bool:
    """Return whether the deadline that counts here has passed."""
    deadline = _DEADLINE.get()
    return deadline is not None and time.monotonic() >= deadline


class _Clock:
    """Cuts the connections of `sockets` when `seconds` (None: never) have passed since the last `start`."""

    def __init__(self, sockets: Collection[socket.socket], seconds: float | None) -> None:
        self._sockets, self._seconds = sockets, seconds
        self._deadline = 0.0
        self._end = math.inf if (left := seconds_left(None)) is None else time.monotonic() + left
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self.over, self.ended = threading.Event(), threading.Event()

    def start(self) -> None:
        """Start the clock, or start it again."""
        if self._seconds is not None:
            self._deadline = min(time.monotonic() + self._seconds, self._end)
            if self._watcher.ident is None:
                self._watcher.start()

    def _watch(self) -> None:
        while (left := self._deadline - time.monotonic()) > 0:
            if self.ended.wait(left):
                return
        self.over.set()
        for one in tuple(self._sockets):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # the method of TLS sockets would change them under way


@contextlib.contextmanager
def cutting(sockets: Collection[socket.socket], seconds: float | None) -> Iterator[Callable[[], None]]:
    """Give a function that starts the clock: `seconds` later (None: never) the connections of `sockets` are cut.

    Each call starts the clock again. The end of the block stops it. Raises TimeoutError instead of the error of a
    connection that was cut.
    """
    clock = _Clock(sockets, seconds)
    try:
        yield clock.start
    except Exception:
        if not clock.over.is_set():
            raise
    finally:
        clock.ended.set()
    if clock.over.is_set():  # some readers take the cut for the end of the answer
        raise TimeoutError("no complete answer in time")


def each_in_time(pieces: Iterable[bytes], sockets: Collection[socket.socket], seconds: float | None) -> Iterator[bytes]:
    """Yield the pieces of an answer. The connections are closed if one takes longer, even if other bytes arrive."""
    with cutting(sockets, seconds) as start:
        start()
        for piece in pieces:
            yield piece
            start()
