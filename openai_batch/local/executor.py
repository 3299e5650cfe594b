"""Run batches: a pool of workers takes rows from all batches that are in progress, one row for each worker.

Results are written in groups (`backlog.py`) while the workers continue. So after a crash, at most the rows in the
backlog and those of the workers are run again. Shutting down cancels nothing: unfinished batches continue at the next
start.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import BatchError

from .backlog import PAUSE_AFTER_FAULT, Backlog
from .batches import Interrupted, fault, validate
from .publish import publish
from .result_lines import error_line
from .run_request import result_of
from .running_batch import RunningBatch
from .server_log import log
from .store import ACTIVE

if TYPE_CHECKING:
    from collections.abc import Collection

    from .result_lines import ResultRecord
    from .settings import LocalSettings
    from .store import BatchRecord, RowRecord, Store
    from .upstream import Upstream

_LOOK_SECONDS = 1.0  # seconds between two looks whether a batch of which many requests wait may continue
_TURN = 0.1  # seconds in which workers take rows of one batch only, so that a commit syncs the journals of few batches
_STOPPABLE = ("validating", "in_progress", "finalizing")  # statuses in which a batch can be cancelled


class _Request(msgspec.Struct):
    body: msgspec.Raw  # the body of a request line, byte for byte


_parse = msgspec.json.Decoder(_Request).decode


class Executor:
    """Runs batches from their creation to their end. Belongs to one event loop."""

    def __init__(self, store: Store, upstream: Upstream, settings: LocalSettings, files: Path, journals: Path) -> None:
        self._store = store
        self._upstream = upstream
        self._settings = settings
        self._files = files
        self._journals = journals
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: deque[RunningBatch] = deque()
        self._turn_ends = 0.0
        self._cancelled: set[str] = set()
        # One at a time: each keeps the ids of its file in memory, and several would not be faster.
        self._validating = asyncio.Lock()
        self._work_came = asyncio.Event()
        self._announced = 0
        self._backlog = Backlog(store)
        self._workers: list[asyncio.Task[None]] = []
        self._closing = False

    @property
    def active(self) -> int:
        """The number of batches that have not ended."""
        return len(self._tasks)

    def waiting_tasks(self, batch_id: str) -> Collection[asyncio.Task[None]]:
        """Return the tasks of a batch whose requests wait. Any thread may call it."""
        return next((run.waiting_tasks for run in tuple(self._running) if run.batch.id == batch_id), ())

    async def start(self) -> None:
        """Start the workers, and continue every batch that has not ended."""
        self._backlog.start()
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._upstream.starts)]
        unfinished = {batch.id for batch in await asyncio.to_thread(self._store.unfinished)}
        # A journal of an ended batch is left over if the server stopped before it could remove the journal.
        for batch_id in unfinished | {path.name for path in self._journals.iterdir()}:
            self.adopt(batch_id)

    async def close(self) -> None:
        """Stop the workers and write the results that have arrived; batches keep their status."""
        self._closing = True
        tasks = [*self._tasks.values(), *self._workers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._backlog.close()
        for run in self._running:
            run.close()

    def adopt(self, batch_id: str) -> None:
        """Run a stored batch to its end, in the background."""
        self._tasks[batch_id] = asyncio.create_task(self._carry(batch_id))

    async def cancel(self, batch_id: str) -> bool:
        """Cancel a batch, keeping the requests at the upstream; return False if it has ended or does not exist."""
        moved = await asyncio.to_thread(self._store.move, batch_id, _STOPPABLE, "cancelling", cancelling_at=time.time())
        if moved:
            self._cancelled.add(batch_id)
            for run in self._running:
                if run.batch.id == batch_id:
                    run.stop()
        return moved

    async def _carry(self, batch_id: str) -> None:
        """Do the steps of a batch, one after the other, until it has ended."""
        try:
            while await self._step(batch_id):
                pass
        finally:
            if not self._closing:
                self._tasks.pop(batch_id, None)
                self._cancelled.discard(batch_id)

    async def _step(self, batch_id: str) -> bool:
        """Do the next step of the batch, by its status; return whether there is more to do."""
        try:
            batch = await asyncio.to_thread(self._store.batch, batch_id)
            if batch is None:
                return False
            if batch.status == "validating":
                await self._validate(batch)
            elif batch.status == "in_progress":
                await self._run(batch)
                await asyncio.to_thread(
                    self._store.move, batch_id, ["in_progress"], "finalizing", finalizing_at=time.time()
                )
            elif batch.status in {"finalizing", "cancelling"}:
                await asyncio.to_thread(publish, self._store, batch, self._files, self._journals / batch_id)
            else:
                await asyncio.to_thread(self._clean, batch)
                return False
        except FileNotFoundError as exc:
            await self._fail(batch_id, f"a file of the batch is gone: {Path(exc.filename or '').name}")
        except (OSError, BatchError) as exc:  # such as a full disk: all state is on the disk, so try again
            log(f"{batch_id}: {exc}; trying again")
            await asyncio.sleep(PAUSE_AFTER_FAULT)
        except Exception as exc:  # noqa: BLE001 - a defect ends this batch, not the server
            log(f"{batch_id}: {exc!r}")
            await self._fail(batch_id, f"the server has an internal error: {type(exc).__name__}")
        return True

    async def _fail(self, batch_id: str, message: str) -> None:
        """End a batch as failed, with the answers that it has."""
        try:
            batch = await asyncio.to_thread(self._store.batch, batch_id)
            if batch is not None and batch.status in ACTIVE:
                if batch.status == "validating":
                    await asyncio.to_thread(self._store.drop_rows, batch.seq)
                failure = fault("internal_error", message)
                await asyncio.to_thread(publish, self._store, batch, self._files, self._journals / batch_id, failure)
        except (OSError, BatchError) as exc:
            log(f"{batch_id}: {exc}; trying again")
            await asyncio.sleep(PAUSE_AFTER_FAULT)

    async def _validate(self, batch: BatchRecord) -> None:
        models = await self._upstream.accepted_models()
        path = self._files / batch.input_file_id
        try:
            async with self._validating:
                await asyncio.to_thread(
                    validate,
                    self._store,
                    batch,
                    path,
                    self._settings,
                    models,
                    lambda: self._closing or batch.id in self._cancelled,
                )
        except Interrupted:
            await asyncio.to_thread(self._store.drop_rows, batch.seq)

    async def _run(self, batch: BatchRecord) -> None:
        """Let the workers run the batch's rows until none is left, it is cancelled, or its window ends."""
        await self._upstream.learn_models()
        run = await asyncio.to_thread(RunningBatch, batch, self._store, self._files, self._journals)
        timer = asyncio.get_running_loop().call_later(max(0.0, batch.expires_at - time.time()), run.stop)
        self._running.append(run)
        if batch.id in self._cancelled:
            run.stop()
        self._announced += 1
        self._work_came.set()
        self._work_came.clear()
        await run.ended.wait()
        # Not in a `finally`: when the server closes, results of this batch may still have to be written.
        timer.cancel()
        self._running.remove(run)
        run.close()

    def _clean(self, batch: BatchRecord) -> None:
        self._store.drop_rows(batch.seq)
        (self._journals / batch.id).unlink(missing_ok=True)

    async def _work(self) -> None:
        while True:
            try:
                run, row = await self._next_row()
            except BatchError as exc:
                log(f"requests cannot be read: {exc}; trying again")
                await asyncio.sleep(PAUSE_AFTER_FAULT)
                continue
            line = await self._result_of(run, row)
            if line is None:
                run.give_back()
            else:
                await self._backlog.add(run, row, line)

    async def _next_row(self) -> tuple[RunningBatch, RowRecord]:
        """Return the next row, taking turns among the batches; wait if there is none."""
        while True:
            announced, held = self._announced, False
            if time.monotonic() >= self._turn_ends:
                self._next_turn()
            for run in tuple(self._running):
                await run.read()
                if run.waiting and sum(each.waiting for each in self._running) >= self._upstream.capacity:
                    held = True  # there would be no worker for requests that can run elsewhere
                    continue
                row = run.take()
                if row is not None:
                    return run, row
                if self._running and self._running[0] is run:
                    self._next_turn()
            if announced == self._announced:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._work_came.wait(), _LOOK_SECONDS if held else None)

    def _next_turn(self) -> None:
        self._running.rotate(-1)
        self._turn_ends = time.monotonic() + _TURN

    async def _result_of(self, run: RunningBatch, row: RowRecord) -> ResultRecord | None:
        """Run one row and return its result line, or None if its batch was stopped in the meantime."""
        try:
            raw = os.pread(run.input, row.length, row.start)
            body = bytes(_parse(raw).body)
        except (OSError, msgspec.MsgspecError) as exc:
            return error_line(row.custom_id, "input_modified", f"the input cannot be read any more: {exc}")
        try:
            return await result_of(self._upstream, run, row.custom_id, body, self._settings)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closing or task is None:
                raise
            task.uncancel()
            return None
