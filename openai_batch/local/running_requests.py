"""The requests of one batch that run now. The server and the workers of a cluster use it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class RunningRequests:
    """The requests of one batch that run now, and what ends them. Belongs to one event loop."""

    def __init__(self, name: str, endpoint: str, expires_at: float) -> None:
        self.name = name  # for the log
        self.endpoint = endpoint
        self.expires_at = expires_at
        self.stopped = False
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """The number of requests that wait for their turn or for the next try."""
        return len(self._waiting)

    @property
    def waiting_tasks(self) -> tuple[asyncio.Task[None], ...]:
        """The tasks of these requests. Any thread may read it."""
        return tuple(self._waiting)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Note that this task runs a request, which waits for its turn or for the next try."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - workers are tasks
        self._waiting.add(task)
        try:
            yield
        finally:
            self._waiting.discard(task)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Note that this task's request is at the upstream: its answer is kept, even if the batch is stopped."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - workers are tasks
        self._waiting.discard(task)
        try:
            yield
        finally:
            self._waiting.add(task)

    def stop(self) -> None:
        """Start no more calls, and cancel the tasks that wait before one; calls that were sent are finished."""
        self.stopped = True
        for task in self._waiting:
            task.cancel()
