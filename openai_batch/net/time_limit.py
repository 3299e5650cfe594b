"""End what takes too long: a connection is cut when its time is over, however many bytes still arrive.

The timeouts of sockets and HTTP libraries are for one read each. A server that sends a byte now and then never
exceeds them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

_SHORTEST = 2.0
"""Seconds that a request gets at least: the last poll of a wait begins when the time is nearly over."""

_DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextlib.contextmanager
def until(deadline: float | None) -> Iterator[None]:
    """Within the block, requests end at `deadline` (of `time.monotonic`); None: only their own time limits count."""
    token = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def seconds_left(limit: float | None) -> float | None:
    """Return how many of `limit` seconds remain before the deadline of `until`; None if there is neither."""
    deadline = _DEADLINE.get()
    left = None if deadline is None else max(_SHORTEST, deadline - time.monotonic())
    return min((seconds for seconds in (limit, left) if seconds is not None), default=None)


class _Clock:
    """Cuts the connections of `sockets` when `seconds` (None: never) have passed since the last `start`."""

    def __init__(self, sockets: Collection[socket.socket], seconds: float | None) -> None:
        self._sockets, self._seconds = sockets, seconds
        self._deadline = 0.0
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self.over, self.ended = threading.Event(), threading.Event()

    def start(self) -> None:
        """Start the clock, or start it anew."""
        if self._seconds is not None:
            self._deadline = time.monotonic() + self._seconds
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

    Called again, it starts the clock anew. The end of the block stops it. Raises TimeoutError instead of the error of a
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
        raise TimeoutError("no whole answer in time")


def each_in_time(pieces: Iterable[bytes], sockets: Collection[socket.socket], seconds: float | None) -> Iterator[bytes]:
    """Yield the pieces of an answer. The connections are cut if one takes longer, whatever arrives around it."""
    with cutting(sockets, seconds) as start:
        start()
        for piece in pieces:
            yield piece
            start()
