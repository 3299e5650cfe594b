"""The journal of one shard: its result lines so far, so that a worker which takes it over repeats little.

In a folder each line is written at once. An object cannot be appended to, so in an object store the lines wait, and are
written as a new object when `flush` is called.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from openai_batch.errors import BatchError, NotFoundError
from openai_batch.files.atomic import sync

from .batches import journal_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .store import SharedStore


class _Response(msgspec.Struct):
    status_code: int = 0


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None


_read = msgspec.json.Decoder(_Line).decode


class KnownResult(NamedTuple):
    """A result that a journal has."""

    line: bytes
    """The result line, with its newline."""
    succeeded: bool
    """Whether it is an answer, and not an error."""


class ShardJournal:
    """What one worker writes about one shard. `add` belongs to one thread, and `flush` may run in another."""

    def __init__(self, store: SharedStore, batch_id: str, number: int, worker: str) -> None:
        self._store = store
        self._name = f"{journal_folder(batch_id, number)}/{worker}"
        self._file: int | None = None
        self._waiting: list[bytes] = []
        self._flushes = 0
        self._torn = b""
        path = store.path(self._name)
        if path is not None:
            with _writing():
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @property
    def waiting(self) -> int:
        """Lines that a crash would lose."""
        return len(self._waiting)

    def add(self, line: bytes) -> None:
        """Take a result line, with its newline. Raises BatchError if the folder cannot be written."""
        if self._file is None:
            self._waiting.append(line)
            return
        rest = self._torn + line
        self._torn = b"\n"  # ends what is left of a line if this fails
        with _writing():
            while rest:
                rest = rest[os.write(self._file, rest) :]
        self._torn = b""

    def flush(self) -> None:
        """Write what waits to the store, or sync the file. Raises BatchError, and keeps what waits."""
        file = self._file  # which may be closed in the meantime
        if file is not None:
            with _writing():
                sync(file)
            return
        count = len(self._waiting)
        if count:
            self._store.replace(f"{self._name}-{self._flushes:06}", b"".join(self._waiting[:count]))
            self._flushes += 1
            del self._waiting[:count]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise BatchError(f"the journal cannot be written: {exc.strerror}", hint="check the disk of the store") from exc


def journal_lines(store: SharedStore, batch_id: str, number: int) -> dict[str, KnownResult]:
    """Return the results of a shard in all its journals, by id; an answer replaces an error.

    What a crash has left behind, such as half a line, is skipped.
    """
    found: dict[str, KnownResult] = {}
    for stored in sorted(store.list(journal_folder(batch_id, number)), key=lambda stored: stored.key):
        try:
            data = store.read(stored.key)
        except NotFoundError:
            continue  # the shard has just been completed
        for custom_id, result in _intact_lines(data):
            if result.succeeded or custom_id not in found:
                found[custom_id] = result
    return found


def _intact_lines(data: bytes) -> Iterator[tuple[str, KnownResult]]:
    for line in data.split(b"\n"):
        try:
            read = _read(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        good = read.response is not None and 200 <= read.response.status_code < 300  # noqa: PLR2004 - HTTP's success
        yield read.custom_id, KnownResult(line + b"\n", good)


def drop_journal(store: SharedStore, batch_id: str, number: int) -> None:
    """Remove the journals of a complete shard."""
    for stored in list(store.list(journal_folder(batch_id, number))):
        store.delete(stored.key)
