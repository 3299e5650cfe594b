"""How far a batch is, from the store alone: also when the cluster is gone."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import NotFoundError

from .batches import End, decode_sign, folder, get_end, get_input, get_plan, part_key, stop_key, write_end
from .journal import journal_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.files.object_store import ObjectInfo

    from .batches import InputRecord, Plan
    from .store import SharedStore

_NUMBERED = {
    "parts": re.compile(r"(\d{8})"),
    "failed": re.compile(r"(\d{8})-\d{1,15}-\d{1,15}"),
    "journal": re.compile(r"(\d{8})/.*"),
}
"""The names of objects that are about one shard."""

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
    trouble: str = ""  # why no upstream answers any of them
    last_sign: float = 0.0  # when a worker last gave one, by the clock of the store
    last_part: float = 0.0  # when the last complete shard was written
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


def progress(store: SharedStore, batch_id: str, *, failure: str = "") -> Progress:
    """Return how far a batch is, and write down its end if it has ended. Raises NotFoundError.

    With `failure`, why it cannot continue, it ends as failed unless it has ended already.
    """
    plan = get_plan(store, batch_id)
    shards = get_input(store, plan.input_file_id).shards
    found = Progress(plan, sum(shard.rows for shard in shards), shards=len(shards), end=get_end(store, batch_id))
    if found.end is not None:
        found.succeeded, found.failed = found.end.succeeded, found.end.failed
        return found
    # Read before the signs of life: a worker gives one before it looks whether the batch was cancelled.
    found.stopped = store.find(stop_key(batch_id)) is not None
    found.now = _clock(store)
    signs = sorted(store.list(folder(batch_id, "workers")), key=lambda sign: sign.modified)
    found.last_sign = signs[-1].modified if signs else 0.0
    signs = [sign for sign in signs if found.now - sign.modified < SILENT]
    open_shards: dict[int, tuple[int, int]] = {}
    troubles = []
    for sign in signs:
        with contextlib.suppress(NotFoundError, msgspec.MsgspecError):  # it has just ended
            read = decode_sign(store.read(sign.key))
            open_shards |= read.shards
            troubles.append(read.trouble)
    found.living = len(signs)
    found.trouble = troubles[0] if troubles and all(troubles) else ""
    parts = {number: part for number, part in _numbered(store, batch_id, "parts") if number < found.shards}
    found.parts = set(parts)
    found.last_part = max((part.modified for part in parts.values()), default=0.0)
    status = _ended(found) or ("failed" if failure else None)
    if status not in (None, "completed"):
        open_shards = _in_journals(store, batch_id, found.parts)
    failed = {}  # by part: a mark of a worker whose part came too late has another size
    for number, mark in _numbered(store, batch_id, "failed"):
        _, size, count = (int(each) for each in mark.key.rpartition("/")[2].split("-"))
        if number in parts and parts[number].size == size:
            failed[number] = count
    running = [counts for number, counts in open_shards.items() if number not in found.parts]
    found.failed = sum(failed.values()) + sum(each for _, each in running)
    done = sum(shards[number].rows for number in found.parts) + sum(count for count, _ in running)
    found.succeeded = max(0, done - found.failed)
    if status is not None:
        found.end = write_end(store, batch_id, End(status, time.time(), found.succeeded, found.failed, failure))
    return found


def _ended(found: Progress) -> str | None:
    """Return the status of a batch that ends now; None if it continues. No worker may write results any more."""
    if len(found.parts) == found.shards:
        return "completed"
    if found.living:
        return None
    if found.stopped:
        return "cancelled"
    return "expired" if time.time() >= found.plan.expires_at else None


def _numbered(store: SharedStore, batch_id: str, kind: str) -> Iterator[tuple[int, ObjectInfo]]:
    """Yield the objects of one kind with the number of the shard that each is about; others are not ours."""
    for stored in store.list(folder(batch_id, kind)):
        name = _NUMBERED[kind].fullmatch(stored.key.removeprefix(f"{folder(batch_id, kind)}/"))
        if name is not None:
            yield int(name[1]), stored


def _in_journals(store: SharedStore, batch_id: str, parts: set[int]) -> dict[int, tuple[int, int]]:
    """Return how many results the journals of incomplete shards have, and how many of these are errors."""
    found = {}
    for number in sorted({number for number, _ in _numbered(store, batch_id, "journal")} - parts):
        known = journal_lines(store, batch_id, number).values()
        found[number] = len(known), sum(not result.succeeded for result in known)
    return found


def _clock(store: SharedStore) -> float:
    """Return the time by the clock of the store, in Unix seconds: it dates the signs of life."""
    store.replace("clock/now", b"")
    found = store.find("clock/now")
    return time.time() if found is None else found.modified


def count_results(store: SharedStore, found: Progress) -> int:
    """Return how many requests have a result in the store, those of incomplete shards included."""
    shards = get_input(store, found.plan.input_file_id).shards
    running = _in_journals(store, found.plan.id, found.parts)
    return sum(shards[number].rows for number in found.parts) + sum(count for count, _ in running.values())


def results(store: SharedStore, plan: Plan, record: InputRecord) -> Iterator[bytes]:
    """Yield the result lines of a batch in blocks, in input order: all of complete shards, and what others have."""
    for number in range(len(record.shards)):
        key = part_key(plan.id, number)
        if store.find(key) is None:
            known = journal_lines(store, plan.id, number)
            if store.find(key) is None:  # else it was completed in the meantime, and the journal is gone
                yield b"".join(result.line for result in known.values())
                continue
        yield from store.stream(key)
