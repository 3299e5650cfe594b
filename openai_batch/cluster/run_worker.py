"""Run one worker from its start to its end, with its model server if it has one."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import BatchError, UnreachableError, UsageError
from openai_batch.files.locks import WINDOWS
from openai_batch.local.launch import check_extras
from openai_batch.local.server_log import log

from . import engine
from .batches import SIGN_OF_LIFE, folder, get_input, get_plan, is_over, note_error
from .patience import patiently
from .store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .batches import Plan
    from .settings import ShardSettings
    from .store import SharedStore

_AT_START = 300.0
"""Seconds for which a worker without work waits for the store: it may have been given a wrong one."""


class _Over(Exception):  # noqa: N818 - nothing failed
    """The batch was cancelled, or is over."""


def run_worker(settings: ShardSettings, batch_id: str, index: int, workers: int) -> None:
    """Run the shards of worker `index`, counted from 0, of `workers` of them, or what is left of the batch's time.

    Raises NotFoundError if there is no such batch, AuthError without the upstream's key, and BatchError if the store
    or the engine fails. A batch that was cancelled is no error: an engine should not start the worker again.
    """
    if WINDOWS:
        raise BatchError("workers do not run on Windows", hint="run obatch in WSL")
    if not 0 <= index < workers:
        raise UsageError(f"--index {index} is not from 0 to {workers - 1}", hint="--of says how many workers there are")
    store = open_store(settings.store)
    plan = asyncio.run(patiently(batch_id, lambda: get_plan(store, batch_id), UnreachableError, _AT_START))
    try:
        check_extras(embedded=False, problem="a worker needs")
        _run(settings, store, plan, index, workers)
    except _Over:
        log(f"{batch_id}: it was cancelled, or is over")
        return
    except BaseException as exc:
        said = exc.message if isinstance(exc, BatchError) else f"a worker was interrupted ({type(exc).__name__})"
        with suppress(BatchError):
            note_error(store, batch_id, f"{index}", said)
        raise
    log(f"{batch_id}: the shards of worker {index} of {workers} are complete")


def _run(settings: ShardSettings, store: SharedStore, plan: Plan, index: int, workers: int) -> None:
    """Run the shards of a worker, with its model server if it has one. Raises _Over if they are not complete then."""
    from .worker import Worker, shards_of

    read = patiently(plan.id, lambda: get_input(store, plan.input_file_id), UnreachableError, _AT_START)
    record = asyncio.run(read)
    with ExitStack() as stack:
        process = None
        if settings.engine:
            with _starting(store, plan, index) as give_sign:
                url, process = stack.enter_context(engine.engine_of(settings.engine, give_sign))
            settings = msgspec.structs.replace(settings, upstream=(url,), engine=())

        async def run() -> bool:
            worker = Worker(store, plan, record, settings.local())
            beside = [] if process is None else [engine.watch(process)]
            return await worker.run(shards_of(index, workers, len(record.shards)), os.environ, beside)

        if not asyncio.run(run()):
            raise _Over


@contextmanager
def _starting(store: SharedStore, plan: Plan, index: int) -> Iterator[Callable[[], None]]:
    """Give what gives signs of life while an engine starts, and raises _Over if the batch was cancelled."""
    key, next_at = f"{folder(plan.id, 'workers')}/starting-{index}", 0.0

    def give_sign() -> None:
        nonlocal next_at
        if time.monotonic() < next_at:
            return
        next_at = time.monotonic() + SIGN_OF_LIFE
        with suppress(UnreachableError):
            store.replace(key, b"{}")
            if is_over(store, plan):
                raise _Over

    try:
        yield give_sign
    finally:
        with suppress(BatchError):
            store.delete(key)
