"""Run the shards of a batch: what each worker of a cluster does, whatever has started it.

    await Worker(store, plan, settings).run(range(20), os.environ)

A shard that is complete is skipped. Of any other, the results in its journals are taken over, and only the rest is
run. Its results are written once, in input order; if another worker was faster, that worker's results stay. So any
engine may start a worker again: no result is lost, and what is repeated is what was in flight. It may also run twice at
the same time. Then each of the two takes the shards in an order of its own, so they seldom run the same one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import BatchError, InputError
from openai_batch.local.run_request import result_of
from openai_batch.local.running_requests import RunningRequests
from openai_batch.local.store import SUCCEEDED
from openai_batch.local.upstream import upstream_of

from .batches import SIGN_OF_LIFE, Sign, folder, input_key, is_over, part_key
from .journal import ShardJournal, drop_journal, journal_lines
from .patience import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from typing import TypeVar

    from openai_batch.local.result_lines import ResultRecord
    from openai_batch.local.settings import LocalSettings
    from openai_batch.local.upstream import Upstream

    from .batches import InputRecord, Plan
    from .journal import KnownResult
    from .store import SharedStore

    _T = TypeVar("_T")

_FLUSH = 5.0
"""Seconds between two flushes of the journals."""

_MOST_WAITING = 2000
"""Results that may wait for an object store; more requests are not run before they are written."""


class _Request(msgspec.Struct):
    custom_id: str
    body: msgspec.Raw


_decode = msgspec.json.Decoder(_Request).decode


def _parse(line: bytes) -> _Request:
    """Return a request line. What only Python takes for JSON, such as NaN, is accepted. Raises ValueError."""
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        read = json.loads(line)
        return _Request(str(read["custom_id"]), msgspec.Raw(json.dumps(read["body"]).encode()))


class _OpenShard:
    """A shard of this worker: its requests, its results so far, and its journal."""

    def __init__(self, number: int, data: bytes, known: dict[str, KnownResult], journal: ShardJournal) -> None:
        self.number = number
        self.journal = journal
        try:
            requests = [_parse(line) for line in data.split(b"\n") if line.strip()]
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise InputError(f"shard {number} has a line that is not a request: {exc}") from None
        self.ids = [request.custom_id for request in requests]
        self._wanted = set(self.ids)
        self.results = {custom_id: known[custom_id].line for custom_id in self._wanted & known.keys()}
        self.failed = sum(not known[custom_id].succeeded for custom_id in self.results)
        self.pending = deque(request for request in requests if request.custom_id not in known)
        self.ending = False  # whether its part is being written

    @property
    def complete(self) -> bool:
        """Whether each request has a result."""
        return len(self.results) == len(self._wanted)

    def add(self, custom_id: str, result: ResultRecord) -> None:
        """Take a result."""
        self.results[custom_id] = result.data
        self.failed += result.state != SUCCEEDED


class Worker:
    """Runs shards of one batch. Belongs to one event loop."""

    def __init__(self, store: SharedStore, plan: Plan, record: InputRecord, settings: LocalSettings) -> None:
        self._store = store
        self._plan = plan
        self._shards = record.shards
        self._settings = settings
        self._run = RunningRequests(plan.id, plan.endpoint, plan.expires_at)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._upstream: Upstream | None = None
        self._open: list[_OpenShard] = []
        self._numbers: deque[int] = deque()
        self._opening = asyncio.Lock()
        self._written = asyncio.Event()
        self._signs = threading.Lock()  # signs of life are given in threads
        self._ended = False

    async def run(
        self, numbers: Sequence[int], env: Mapping[str, str], beside: Iterable[Coroutine[Any, Any, None]] = ()
    ) -> bool:
        """Run these shards, and return whether all of them are complete now.

        `env` has the keys of the upstreams. What runs `beside` ends the work by an error. False means that the batch
        was cancelled, or is over. Raises AuthError without a key, and BatchError if the store cannot be used.
        """
        self._numbers.extend(random.sample(numbers, len(numbers)))
        upstream = upstream_of(self._settings, [each.key(env) for each in self._settings.upstreams])
        self._upstream = upstream
        await self._patiently(self._give_sign)  # before it looks whether the batch is cancelled
        tasks = [asyncio.create_task(each) for each in (self._work_all(upstream), self._watch(), self._flush())]
        tasks += [asyncio.create_task(each) for each in beside]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ExceptionGroup as exc:
            raise exc.exceptions[0] from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await upstream.close()
            for shard in self._open:
                with suppress(BatchError):
                    await asyncio.to_thread(shard.journal.flush)
                shard.journal.close()
            with suppress(BatchError):
                await asyncio.to_thread(self._end_signs)
        return not self._open and not self._numbers

    async def _work_all(self, upstream: Upstream) -> None:
        await self._look_for_stop()
        async with asyncio.TaskGroup() as group:  # an error ends all: what was not asked is no error of its own
            for _ in range(upstream.capacity):
                group.create_task(self._work(upstream))

    async def _work(self, upstream: Upstream) -> None:
        """Run requests, one after the other, until there are no more."""
        while True:
            found = await self._next()
            if found is None:
                return
            shard, request = found
            try:
                result = await result_of(upstream, self._run, request.custom_id, bytes(request.body), self._settings)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self._run.stopped or task is None:
                    raise
                task.uncancel()
                return
            if result is None:
                return
            await self._keep(shard, request.custom_id, result)
            if shard.complete and not shard.ending:
                await self._publish(shard)

    async def _next(self) -> tuple[_OpenShard, _Request] | None:
        """Return the next request of the open shards, or of a new one; None if there are no more."""
        while not self._run.stopped and time.time() < self._plan.expires_at:
            for shard in self._open:
                if shard.pending:
                    return shard, shard.pending.popleft()
            if not self._numbers:
                return None
            async with self._opening:
                if self._numbers and not any(shard.pending for shard in self._open):
                    await self._open_shard(self._numbers[0])
                    self._numbers.popleft()
        return None

    async def _open_shard(self, number: int) -> None:
        """Open a shard; if it is complete, there is nothing to do."""
        opened = await self._patiently(lambda: self._read_shard(number))
        if opened is None:
            return
        self._open.append(opened)
        if opened.complete:
            await self._publish(opened)

    def _read_shard(self, number: int) -> _OpenShard | None:
        plan, (start, end, _) = self._plan, self._shards[number]
        if self._store.find(part_key(plan.id, number)) is not None:
            return None
        data = self._store.read(input_key(plan.input_file_id), start, end)
        known = journal_lines(self._store, plan.id, number)
        return _OpenShard(number, data, known, ShardJournal(self._store, plan.id, number, self.name))

    async def _keep(self, shard: _OpenShard, custom_id: str, result: ResultRecord) -> None:
        """Write a result to the journal. While that is not possible, nothing more is asked."""
        try:
            shard.journal.add(result.data)
        except BatchError:
            await self._patiently(lambda: shard.journal.add(result.data))
        shard.add(custom_id, result)
        while sum(each.journal.waiting for each in self._open if not each.ending) >= _MOST_WAITING:
            self._written.clear()
            await self._written.wait()

    async def _publish(self, shard: _OpenShard) -> None:
        """Write the results of a complete shard, and forget it."""
        shard.ending = True
        content = b"".join(shard.results[custom_id] for custom_id in shard.ids)
        await self._patiently(lambda: self._write_part(shard, content))
        self._open.remove(shard)
        shard.journal.close()

    def _write_part(self, shard: _OpenShard, content: bytes) -> None:
        if shard.failed:  # written first: the size of the part says whether it is the one that was kept
            name = f"{shard.number:08}-{len(content)}-{shard.failed}"
            self._store.replace(f"{folder(self._plan.id, 'failed')}/{name}", b"")
        self._store.create(part_key(self._plan.id, shard.number), content)
        drop_journal(self._store, self._plan.id, shard.number)

    async def _watch(self) -> None:
        """Give signs of life, and stop when the batch is cancelled, has ended, or is over."""
        while True:
            left = SIGN_OF_LIFE if self._run.stopped else self._plan.expires_at - time.time()
            await asyncio.sleep(min(SIGN_OF_LIFE, max(0.0, left)))
            with suppress(BatchError):
                await self._look_for_stop()
                await asyncio.to_thread(self._give_sign)

    async def _look_for_stop(self) -> None:
        if not self._run.stopped and await self._patiently(lambda: is_over(self._store, self._plan)):
            self._run.stop()

    @property
    def _sign_key(self) -> str:
        return f"{folder(self._plan.id, 'workers')}/{self.name}"

    def _give_sign(self) -> None:
        done = {shard.number: (len(shard.results), shard.failed) for shard in self._open}
        trouble = self._upstream.trouble() if self._upstream is not None else None
        with self._signs:
            if not self._ended:
                self._store.replace(self._sign_key, msgspec.json.encode(Sign(done, trouble or "")))

    def _end_signs(self) -> None:
        """Take the sign of life back, after one that is being given: it would say for a minute that the worker runs."""
        with self._signs:
            self._ended = True
            self._store.delete(self._sign_key)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH)
            for shard in tuple(self._open):
                if not shard.ending:
                    await self._patiently(shard.journal.flush)
            self._written.set()

    async def _patiently(self, act: Callable[[], _T]) -> _T:
        """Use the store, also if it cannot be used for a while. Raises BatchError."""
        return await patiently(self._plan.id, act)


def shards_of(worker: int, workers: int, total: int) -> range:
    """Return the shards of one of several workers, counted from 0: they take the shards in turn."""
    return range(worker, total, workers)
