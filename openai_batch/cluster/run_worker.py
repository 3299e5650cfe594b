"""Run one worker from its start to its end, with its model server if it has one."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import BatchError, UsageError
from openai_batch.local.launch import check_extras
from openai_batch.local.server_log import log

from . import engine
from .batches import get_plan, note_error
from .store import open_store

if TYPE_CHECKING:
    from .batches import Plan
    from .settings import ShardSettings
    from .store import Store


def run_worker(settings: ShardSettings, batch_id: str, index: int, workers: int) -> None:
    """Run the shards of worker `index`, counted from 0, of `workers` of them.

    Raises NotFoundError if there is no such batch, AuthError without the upstream's key, and BatchError if the batch
    ended before its shards were complete.
    """
    if not 0 <= index < workers:
        raise UsageError(f"--index {index} is not from 0 to {workers - 1}", hint="--of says how many workers there are")
    check_extras(settings.local())
    store = open_store(settings.store)
    plan = get_plan(store, batch_id)
    try:
        if not _run(settings, store, plan, index, workers):
            raise BatchError(f"{batch_id} ended before its shards were complete", hint="it was cancelled, or is over")
    except BaseException as exc:
        said = exc.message if isinstance(exc, BatchError) else f"a worker was interrupted ({type(exc).__name__})"
        with suppress(BatchError):
            note_error(store, batch_id, f"{index}", said)
        raise
    log(f"{batch_id}: the shards of worker {index} of {workers} are complete")


def _run(settings: ShardSettings, store: Store, plan: Plan, index: int, workers: int) -> bool:
    """Run the shards of a worker, with its model server if it has one; return whether they are complete."""
    from .worker import Worker, shards_of

    with ExitStack() as stack:
        process = None
        if settings.engine:
            url, process = stack.enter_context(engine.engine_of(settings.engine))
            settings = msgspec.structs.replace(settings, upstream=(url,), engine=())

        async def run() -> bool:
            worker = Worker(store, plan, settings.local())
            beside = [] if process is None else [engine.watch(process)]
            return await worker.run(shards_of(index, workers, len(worker.shards)), os.environ, beside)

        return asyncio.run(run())
