"""Process several items at a time, each in a thread with its own worker."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from openai_batch.threads import result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from contextlib import AbstractContextManager

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Worker = TypeVar("_Worker")

LAST_SECONDS = 5.0  # seconds that the threads get to finish their requests after an interruption


class Stopped(BaseException):
    """Another item has failed, or the command was interrupted: no further request is begun.

    It is not an Exception, so that no retry takes it for an error of the request.
    """


def in_parallel(
    worker: Callable[[threading.Event], AbstractContextManager[_Worker]],
    act: Callable[[_Worker, _Item], _Result],
    items: Iterable[_Item],
    threads: int,
) -> Generator[_Result, None, None]:
    """Yield `act(worker, item)` for each item, in their order; at most `threads` of them are under way or not yielded.

    `worker` makes the worker of a thread; the event that it gets is set when the work must stop. `items` are taken in
    the caller's thread. After an error no item is begun, those under way are waited for, and the error is raised. Close
    the iterator if it is not read to its end.
    """
    team = _Team(worker, act, threads)
    pending: deque[Future[_Result]] = deque()

    def results(most: int) -> Iterator[_Result]:
        while len(pending) > most:
            with contextlib.suppress(Stopped):  # the one that failed comes later
                yield result_of(pending.popleft())

    try:
        for item in items:
            yield from results(threads - 1)
            if team.stopped.is_set():
                break
            pending.append(team.begin(item))
        yield from results(0)
    except KeyboardInterrupt:
        team.end(time.monotonic() + LAST_SECONDS)
        raise
    finally:
        team.end()


class _Team(Generic[_Worker, _Item, _Result]):
    """Up to `most` threads, each with its own worker."""

    def __init__(
        self,
        worker: Callable[[threading.Event], AbstractContextManager[_Worker]],
        act: Callable[[_Worker, _Item], _Result],
        most: int,
    ) -> None:
        self.stopped = threading.Event()
        self._worker, self._act, self._most = worker, act, most
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[tuple[Future[_Result], _Item] | None] = SimpleQueue()

    def begin(self, item: _Item) -> Future[_Result]:
        """Give an item to a thread."""
        future: Future[_Result] = Future()
        self._tasks.put((future, item))
        if len(self._threads) < self._most:
            # A daemon: after an interruption the process does not wait for a server that does not answer.
            thread = threading.Thread(target=copy_context().run, args=(self._work,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def end(self, last: float | None = None) -> None:
        """Stop the threads, and wait for what they have begun; not longer than until `last` (of `time.monotonic`)."""
        self.stopped.set()
        for _ in self._threads:
            self._tasks.put(None)
        while self._threads:
            thread = self._threads.pop()
            if thread.is_alive():  # Ctrl-C may come before it is started
                thread.join(None if last is None else max(0.0, last - time.monotonic()))

    def _work(self) -> None:
        with contextlib.ExitStack() as stack:
            own: _Worker | None = None
            while (task := self._tasks.get()) is not None:
                future, item = task
                try:
                    own = stack.enter_context(self._worker(self.stopped)) if own is None else own
                    future.set_result(self._act(own, item))
                except BaseException as exc:  # noqa: BLE001 - it is raised in the caller's thread
                    self.stopped.set()
                    future.set_exception(exc)
