"""What the store has about inputs and batches, and where each object is.

files/FILE/input             an uploaded input file
files/FILE/index.json        its record, with the shards: written last, so an input without one does not exist
plans/BATCH.json             a batch, as it was created
batches/BATCH/tries/N.json   each time that workers were started; N.started after that was done
batches/BATCH/workers/NAME   a sign of life of each worker
batches/BATCH/journal/N/…    the result lines of shard N so far, in the order in which they arrived
batches/BATCH/parts/N        the result lines of shard N, in input order; written once, when it is complete
batches/BATCH/failed/N-…     how many lines of a part of shard N with so many bytes are errors, if there are any
batches/BATCH/errors/NAME    why a worker ended before its shards were complete
batches/BATCH/stop           the batch is cancelled
batches/BATCH/end.json       the batch has ended
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

import msgspec

from openai_batch.errors import BatchError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_batch.files.object_store import ObjectInfo
    from openai_batch.files.slice import FileSlice

    from .store import SharedStore

_BLOCK = 1 << 20
_SHARD_BYTES = 16 * 1024 * 1024
"""A shard ends after the line that reaches this size: a worker has it in memory."""

_MOST_WORDS = 1000
"""Bytes of an error that are kept."""

SIGN_OF_LIFE = 5.0
"""Seconds between two signs of life of a worker; the longest delay until it sees that the batch was cancelled."""

_ID = re.compile(r"(?:file|batch)[-_][0-9a-f]{32}")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_T = TypeVar("_T")


class UnreadableError(BatchError):
    """An object of the store is not what its name says."""

    remedy = "look into the store: a newer version of obatch, or another program, has written it"


class Shard(NamedTuple):
    """A stretch of an input file, which one worker runs at a time."""

    start: int
    """The offset of its first byte."""
    end: int
    """The offset after its last byte."""
    rows: int
    """Its requests."""


class InputRecord(msgspec.Struct, frozen=True):
    """An uploaded input file."""

    id: str
    filename: str
    """The name it was uploaded under."""
    size: int
    """Its bytes."""
    created_at: float
    """When it was uploaded, in Unix seconds by the uploading machine's clock."""
    shards: list[Shard]
    """Its shards, in input order."""

    @property
    def rows(self) -> int:
        """The number of its requests."""
        return sum(shard.rows for shard in self.shards)


class Plan(msgspec.Struct, frozen=True):
    """A batch as it was created. It names no URL and no key: the workers get these from whoever starts them."""

    id: str
    input_file_id: str
    endpoint: str
    """The path of the requests, such as `/v1/chat/completions`."""
    window: str
    """The completion window, such as `24h`."""
    created_at: float
    """When it was created, in Unix seconds by the creating machine's clock."""
    metadata: dict[str, str] = {}
    """The client's own pairs."""

    def __post_init__(self) -> None:
        """Check the window."""
        window_seconds(self.window)

    @property
    def expires_at(self) -> float:
        """When no more requests are run, in Unix seconds."""
        return self.created_at + window_seconds(self.window)


class Sign(msgspec.Struct, frozen=True):
    """A sign of life of a worker."""

    shards: dict[int, tuple[int, int]] = {}
    """For each shard that it runs, how many results it has, and how many of these are errors."""
    trouble: str = ""
    """Why no upstream answers it; empty if one does."""


class End(msgspec.Struct, frozen=True):
    """How a batch ended."""

    status: str
    """`completed`, `cancelled`, `expired` or `failed`."""
    at: float
    """When, in Unix seconds."""
    succeeded: int
    """Requests with an answer."""
    failed: int
    """Requests that ended with an error."""
    message: str = ""
    """Why it failed."""


class Start(msgspec.Struct, frozen=True):
    """One time that the workers of a batch were started; it is written before they are."""

    number: int
    """The first one is 1."""
    host: str
    """The machine that started them."""
    results: int
    """Requests that had a result then."""
    by: str = ""
    """A text of its own for each process that tries to start them: only one of them writes this record."""
    at: float = 0.0
    """When, in Unix seconds by the clock of the store."""
    started: bool = False
    """Whether starting them was done."""


_decode_input = msgspec.json.Decoder(InputRecord).decode
_decode_plan = msgspec.json.Decoder(Plan).decode
decode_sign = msgspec.json.Decoder(Sign).decode
_decode_end = msgspec.json.Decoder(End).decode
_decode_start = msgspec.json.Decoder(Start).decode


def window_seconds(window: str) -> float:
    """Return the seconds of a completion window such as `24h` or `14d`. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,7})([smhd])", window)
    if not match or not int(match[1]):
        raise UsageError(f"the completion window {window!r} is not a time such as 24h", hint="give one such as 14d")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def input_key(file_id: str) -> str:
    """Return where the content of an input file is."""
    return f"files/{file_id}/input"


def part_key(batch_id: str, number: int) -> str:
    """Return where the results of a complete shard are."""
    return f"{folder(batch_id, 'parts')}/{number:08}"


def journal_folder(batch_id: str, number: int) -> str:
    """Return where the results of a shard are that is not complete."""
    return f"{folder(batch_id, 'journal')}/{number:08}"


def folder(batch_id: str, name: str) -> str:
    """Return the folder of one kind of a batch's objects."""
    return f"batches/{batch_id}/{name}"


def stop_key(batch_id: str) -> str:
    """Return the object that cancels a batch."""
    return folder(batch_id, "stop")


def add_input(store: SharedStore, stream: BinaryIO | FileSlice, filename: str, rows_per_shard: int) -> InputRecord:
    """Upload an input file, and return its record. Raises BatchError."""
    file_id = f"file-{secrets.token_hex(16)}"
    shards: list[Shard] = []
    store.write(input_key(file_id), _cut(stream, rows_per_shard, shards))
    record = InputRecord(file_id, filename, shards[-1].end if shards else 0, time.time(), shards)
    store.create(f"files/{file_id}/index.json", msgspec.json.encode(record))
    return record


def _cut(stream: BinaryIO | FileSlice, rows: int, shards: list[Shard]) -> Iterator[bytes]:
    """Yield the stream in blocks, and add the shards that they have to `shards`."""
    start = end = count = 0
    open_line = False
    while block := stream.read(_BLOCK):
        *whole, rest = block.split(b"\n")
        for line in whole:
            end += len(line) + 1
            count += 1
            if count >= rows or end - start >= _SHARD_BYTES:
                shards.append(Shard(start, end, count))
                start, count = end, 0
        end += len(rest)
        open_line = bool(rest) or (open_line and not whole)
        yield block
    if end > start:
        shards.append(Shard(start, end, count + open_line))


def get_input(store: SharedStore, file_id: str) -> InputRecord:
    """Return the record of an input file. Raises NotFoundError."""
    _check_id(file_id)
    return _decoded(store.read(f"files/{file_id}/index.json"), _decode_input, file_id)


def create_batch(store: SharedStore, plan: Plan) -> Plan:
    """Write a new batch, and return it; if there is one of the same id, return that one."""
    if store.create(f"plans/{plan.id}.json", msgspec.json.encode(plan)):
        return plan
    return get_plan(store, plan.id)


def get_plan(store: SharedStore, batch_id: str) -> Plan:
    """Return a batch as it was created. Raises NotFoundError."""
    _check_id(batch_id)
    plan = _decoded(store.read(f"plans/{batch_id}.json"), _decode_plan, batch_id)
    if plan.id != batch_id:
        raise UnreadableError(f"the store has the batch {plan.id} in the place of {batch_id}")
    return plan


def plans(store: SharedStore) -> Iterator[Plan]:
    """Yield all batches of the store, the newest first. What is not a batch that can be read is left out."""
    for found in sorted(store.list("plans"), key=lambda found: found.modified, reverse=True):
        with suppress(NotFoundError, UnreadableError):
            yield get_plan(store, found.key.removeprefix("plans/").removesuffix(".json"))


def get_end(store: SharedStore, batch_id: str) -> End | None:
    """Return how a batch ended; None if it has not."""
    try:
        return _decoded(store.read(folder(batch_id, "end.json")), _decode_end, batch_id)
    except NotFoundError:
        return None


def write_end(store: SharedStore, batch_id: str, end: End) -> End:
    """Write how a batch ended, and return it; what was written first stays."""
    if store.create(folder(batch_id, "end.json"), msgspec.json.encode(end)):
        return end
    return get_end(store, batch_id) or end


def is_over(store: SharedStore, plan: Plan) -> bool:
    """Return whether no more requests of a batch are run: it was cancelled, has ended, or its window has."""
    return (
        time.time() >= plan.expires_at
        or store.find(stop_key(plan.id)) is not None
        or get_end(store, plan.id) is not None
    )


def starts(store: SharedStore, batch_id: str) -> list[Start]:
    """Return each time that the workers of a batch were started, in order."""
    found = {stored.key: stored.modified for stored in store.list(folder(batch_id, "tries"))}
    return [
        msgspec.structs.replace(
            _decoded(store.read(key), _decode_start, batch_id), at=found[key], started=f"{key[:-5]}.started" in found
        )
        for key in sorted(found)
        if key.endswith(".json")
    ]


def note_start(store: SharedStore, batch_id: str, start: Start) -> bool:
    """Write that workers are started now; return False if another process has written the same number."""
    return store.create(f"{folder(batch_id, 'tries')}/{start.number:04}.json", msgspec.json.encode(start))


def note_started(store: SharedStore, batch_id: str, number: int) -> None:
    """Write that starting the workers was done."""
    store.replace(f"{folder(batch_id, 'tries')}/{number:04}.started", b"")


def withdraw_start(store: SharedStore, batch_id: str, number: int) -> None:
    """Take back that workers are started: they were not, or a start with the same number starts the rest of them."""
    store.delete(f"{folder(batch_id, 'tries')}/{number:04}.json")


def note_error(store: SharedStore, batch_id: str, name: str, message: str) -> None:
    """Write why a worker has ended before its shards were complete."""
    store.replace(f"{folder(batch_id, 'errors')}/{name}", message.encode()[:_MOST_WORDS])


def last_error(store: SharedStore, batch_id: str) -> str:
    """Return why the last worker that failed has failed; empty if none has said it."""
    found = errors(store, batch_id)
    return store.read(found[-1].key, 0, _MOST_WORDS).decode("utf-8", "replace") if found else ""


def errors(store: SharedStore, batch_id: str) -> list[ObjectInfo]:
    """Return the errors of workers that ended before their shards were complete, the newest last."""
    return sorted(store.list(folder(batch_id, "errors")), key=lambda stored: stored.modified)


def delete_input(store: SharedStore, file_id: str) -> None:
    """Delete the content of an input file; its index stays. Raises NotFoundError."""
    key = input_key(get_input(store, file_id).id)
    if store.find(key) is None:
        raise NotFoundError(f"{file_id} is deleted")
    store.delete(key)


def delete_results(store: SharedStore, batch_id: str) -> None:
    """Delete the results of a batch that has ended. Raises NotFoundError, and BatchError if it has not ended."""
    get_plan(store, batch_id)
    if get_end(store, batch_id) is None:
        raise BatchError(f"{batch_id} has not ended")
    left = [stored.key for kind in ("parts", "journal") for stored in store.list(folder(batch_id, kind))]
    if not left:  # else an earlier try was interrupted
        check_kept(store, batch_id)
    store.create(folder(batch_id, "deleted"), b"")
    for key in left:
        store.delete(key)


def check_kept(store: SharedStore, batch_id: str) -> None:
    """Raise NotFoundError if the results of a batch were deleted."""
    if store.find(folder(batch_id, "deleted")) is not None:
        raise NotFoundError(f"the results of {batch_id} were deleted")


def _check_id(text: str) -> None:
    """Raise NotFoundError for what cannot be an id: it becomes part of a path."""
    if not _ID.fullmatch(text):
        raise NotFoundError(f"there is no {text!r} in the store")


def _decoded(data: bytes, decode: Callable[[bytes], _T], name: str) -> _T:
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise UnreadableError(f"the store has a record of {name} that cannot be read: {exc}") from None
