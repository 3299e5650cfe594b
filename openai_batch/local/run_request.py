"""Run one request of a batch, and make its result line. The server and the workers of a cluster use it."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .api_objects import Refused
from .result_lines import error_line, response_line
from .server_log import log
from .upstream import CallError
from .upstream_retry import final_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .result_lines import ResultRecord
    from .settings import LocalSettings
    from .upstream import Upstream


class Run:
    """The requests of one batch that run now, and what ends them. Belongs to one event loop."""

    def __init__(self, name: str, endpoint: str, expires_at: float) -> None:
        self.name = name  # for the log
        self.endpoint = endpoint
        self.expires_at = expires_at
        self.stopped = False
        self._waiting: set[asyncio.Task[None]] = set()

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


async def result_of(
    upstream: Upstream, run: Run, custom_id: str, body: bytes, settings: LocalSettings
) -> ResultRecord | None:
    """Run one request, and return its result line; None if the batch was stopped or is over, and it has no answer.

    Raises CancelledError if the batch is stopped while the request waits for its turn.
    """
    with run.running():
        try:
            answer = await final_response(upstream, run, body, settings)
        except Refused as exc:
            return response_line(custom_id, exc.status, None, bytes(exc.response().body))
        except CallError as exc:
            late = run.stopped or time.time() >= run.expires_at
            return None if late else error_line(custom_id, exc.code, str(exc))
        except Exception as exc:  # noqa: BLE001 - a defect ends this row, not the others
            log(f"{run.name}, {custom_id}: {exc!r}")
            return error_line(custom_id, "internal_error", f"the request failed: {type(exc).__name__}")
    return response_line(custom_id, answer.status, answer.headers.get("x-request-id"), answer.body)
