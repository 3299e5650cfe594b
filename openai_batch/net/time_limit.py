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
    from collections.abc import Callable, Collection, Iterator

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


@contextlib.contextmanager
def cutting(sockets: Collection[socket.socket], seconds: float | None) -> Iterator[Callable[[], None]]:
    """Give a function that starts the clock: `seconds` later (None: never) the connections of `sockets` are cut.

    The end of the block stops the clock. Raises TimeoutError instead of the error of a connection that was cut.
    """
    over = threading.Event()

    def cut() -> None:
        over.set()
        for one in tuple(sockets):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # the method of TLS sockets would change them under way

    timer = threading.Timer(seconds or 0.0, cut)
    timer.daemon = True

    def start() -> None:
        if seconds is not None and timer.ident is None:
            timer.start()

    try:
        yield start
    except Exception:
        if not over.is_set():
            raise
    finally:
        timer.cancel()
    if over.is_set():  # some readers take the cut for the end of the answer
        raise TimeoutError("no whole answer in time")
