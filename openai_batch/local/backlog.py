"""Results that are written to the disk in groups, while the workers continue.

A commit starts as soon as the last one is 0.2 seconds old, or half of the space is used. If the space is full, workers
wait. So a crash loses at most `MOST_ROWS` answers, and those that the workers wait for.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from openai_batch.errors import BatchError
from openai_batch.files.atomic import sync

from .server_log import log
from .store import RowResult

if TYPE_CHECKING:
    from .result_lines import ResultRecord
    from .running_batch import RunningBatch
    from .store import RowRecord, Store

MOST_ROWS = 256  # results that may wait for the disk, including those that are being written
_MOST_BYTES = 16 * 1024 * 1024  # the same in bytes of result lines, to limit memory
_SECONDS = 0.2  # seconds between two commits, unless many results wait
PAUSE_AFTER_FAULT = 5.0  # seconds before a failed read or write of the disk is tried again


class _FinishedRow(NamedTuple):
    """A row with its result."""

    run: RunningBatch  # its batch
    row: RowRecord  # where it is in the input
    line: ResultRecord  # its line of the output or error file


class Backlog:
    """Writes results in groups. Belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[_FinishedRow] = []
        self._rows = self._bytes = 0
        self._came, self._many, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to write."""
        self._task = asyncio.create_task(self._commit())

    async def close(self) -> None:
        """Write what has arrived, and end."""
        self._closing = True
        self._came.set()
        self._many.set()
        if self._task is not None:
            await self._task

    async def add(self, run: RunningBatch, row: RowRecord, line: ResultRecord) -> None:
        """Take a result; its batch gets the row back when it is on the disk. Waits while there is no space."""
        self._waiting.append(_FinishedRow(run, row, line))
        self._rows += 1
        self._bytes += len(line.data)
        self._came.set()
        if self._filled(2):
            self._many.set()
        while self._filled(1):
            self._room.clear()
            await self._room.wait()

    def _filled(self, parts: int) -> bool:
        """Return whether one of so many equal parts of the room is full."""
        return self._rows * parts >= MOST_ROWS or self._bytes * parts >= _MOST_BYTES

    async def _commit(self) -> None:
        loop = asyncio.get_running_loop()
        last = 0.0
        while self._waiting or not self._closing:
            await self._came.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(last + _SECONDS):
                    await self._many.wait()
            last = loop.time()
            results, self._waiting = self._waiting, []
            if not self._closing:
                self._came.clear()
                self._many.clear()
            await self._write_with_retries(results)
            self._rows -= len(results)
            self._bytes -= sum(len(result.line.data) for result in results)
            for result in results:
                result.run.give_back()
            self._room.set()

    async def _write_with_retries(self, results: list[_FinishedRow]) -> None:
        while results:
            try:
                await asyncio.to_thread(self._write, results)
            except (OSError, BatchError) as exc:
                log(f"results cannot be written: {exc}; trying again")
                if self._closing:
                    return
                await asyncio.sleep(PAUSE_AFTER_FAULT)
            else:
                return

    def _write(self, results: list[_FinishedRow]) -> None:
        """Append result lines to the journals of their batches, sync these, then record the rows in the store."""
        groups: dict[RunningBatch, list[_FinishedRow]] = {}
        for result in results:
            groups.setdefault(result.run, []).append(result)
        done: list[RowResult] = []
        ends: dict[RunningBatch, int] = {}
        for run, group in groups.items():
            end = run.journal_end
            for result in group:
                size = len(result.line.data)
                done.append(RowResult(run.batch.seq, result.row.line, result.line.state, end, size, result.line.tokens))
                end += size
            _write_at(run.journal, b"".join(result.line.data for result in group), run.journal_end)
            sync(run.journal)
            ends[run] = end
        self._store.record(done)
        for run, end in ends.items():
            run.journal_end = end


def _write_at(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written
