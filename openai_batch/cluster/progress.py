"""How far a batch is, from the store alone: also when the cluster is gone."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import NotFoundError

from .batches import End, folder, get_end, get_input, get_plan, part_key, stop_key, write_end
from .journal import journal_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .batches import InputRecord, Plan
    from .store import Store

SILENT = 60.0
"""Seconds without a sign of life after which a worker has ended."""


@dataclass(slots=True)
class Progress:
    """How far a batch is."""

    plan: Plan  # the batch as it was created
    total: int  # its requests
    succeeded: int = 0  # requests with an answer
    failed: int = 0  # requests that ended with an error
    parts: set[int] = field(default_factory=set)  # the numbers of the complete shards
    shards: int = 0  # how many there are
    living: int = 0  # workers that have just given a sign of life
    last_sign: float = 0.0  # when a worker last gave one, by the clock of the store
    now: float = 0.0  # the time by that clock
    stopped: bool = False  # whether it was cancelled
    end: End | None = None  # how it ended

    @property
    def status(self) -> str:
        """The status of the batch, in the words of OpenAI."""
        if self.end is not None:
            return self.end.status
        if self.stopped:
            return "cancelling"
        return "in_progress" if self.parts or self.living else "validating"


def progress(store: Store, batch_id: str) -> Progress:
    """Return how far a batch is, and write down its end if it has ended. Raises NotFoundError."""
    plan = get_plan(store, batch_id)
    shards = get_input(store, plan.input_file_id).shards
    found = Progress(plan, sum(shard.rows for shard in shards), shards=len(shards), end=get_end(store, batch_id))
    if found.end is not None:
        found.succeeded, found.failed = found.end.succeeded, found.end.failed
        return found
    # Read before the signs of life: a worker gives one before it looks whether the batch was cancelled.
    found.stopped = store.find(stop_key(batch_id)) is not None
    found.now = _clock(store)
    signs = list(store.list(folder(batch_id, "workers")))
    found.last_sign = max((sign.modified for sign in signs), default=0.0)
    signs = [sign for sign in signs if found.now - sign.modified < SILENT]
    open_shards: dict[int, tuple[int, int]] = {}
    for sign in signs:
        with contextlib.suppress(NotFoundError, msgspec.MsgspecError):  # it has just ended
            open_shards |= msgspec.json.decode(store.read(sign.key), type=dict[int, tuple[int, int]])
    found.living = len(signs)
    found.parts = {int(part.key.rpartition("/")[2]) for part in store.list(folder(batch_id, "parts"))}
    failed = {
        int(number): int(count)
        for number, count in (
            marker.key.rpartition("/")[2].split("-") for marker in store.list(folder(batch_id, "failed"))
        )
    }
    running = [counts for number, counts in open_shards.items() if number not in found.parts]
    found.failed = sum(failed.values()) + sum(each for _, each in running)
    done = sum(shards[number].rows for number in found.parts) + sum(count for count, _ in running)
    found.succeeded = max(0, done - found.failed)
    status = _ended(found)
    if status is not None:
        found.end = write_end(store, batch_id, End(status, time.time(), found.succeeded, found.failed))
    return found


def _ended(found: Progress) -> str | None:
    """Return the status of a batch that ends now; None if it goes on. No worker may write results any more."""
    if len(found.parts) == found.shards:
        return "completed"
    if found.living:
        return None
    if found.stopped:
        return "cancelled"
    return "expired" if time.time() >= found.plan.expires_at else None


def _clock(store: Store) -> float:
    """Return the time by the clock of the store, in Unix seconds: it dates the signs of life."""
    store.replace("clock", b"")
    found = store.find("clock")
    return time.time() if found is None else found.modified


def results(store: Store, plan: Plan, record: InputRecord) -> Iterator[bytes]:
    """Yield the result lines of a batch in blocks, in input order: all of complete shards, and what others have."""
    for number in range(len(record.shards)):
        key = part_key(plan.id, number)
        if store.find(key) is None:
            known = journal_lines(store, plan.id, number)
            if store.find(key) is None:  # else it was completed in the meantime, and the journal is gone
                yield b"".join(result.line for result in known.values())
                continue
        yield from store.stream(key)
