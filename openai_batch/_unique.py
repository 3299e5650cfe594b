"""Find out that an id was seen before, for any number of ids and in bounded memory: the rest goes to disk."""

from __future__ import annotations

import os
from array import array
from contextlib import closing, contextmanager
from itertools import accumulate
from typing import IO, TYPE_CHECKING

from .errors import BatchError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence


@contextmanager
def unique_ids() -> Iterator[Callable[[str, str], str | None]]:
    """Give a function of an id and its place, which returns the place where the id was seen before, or None."""
    from sqlite3 import IntegrityError

    with closing(_unnamed("CREATE TABLE ids (id TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID")) as base:

        def seen(custom_id: str, place: str) -> str | None:
            try:
                base.execute("INSERT INTO ids VALUES (?, ?)", (custom_id, place))
            except IntegrityError:
                row = base.execute("SELECT place FROM ids WHERE id = ?", (custom_id,)).fetchone()
                return str(row[0])
            return None

        yield seen


IN_MEMORY = 100_000
"""Ids that are kept in memory before the rest goes to disk: some 15 MB."""


class Seen:
    """Tells on which line an id was seen first, for any number of ids and in bounded memory."""

    def __init__(self) -> None:
        self._few: dict[str, int] = {}
        self._many: sqlite3.Connection | None = None

    def first(self, custom_id: str, line: int) -> int | None:
        """Note an id, and return the line where it was seen before, or None."""
        if self._many is None:
            known = self._few.setdefault(custom_id, line)
            if known != line:
                return known
            if len(self._few) >= IN_MEMORY:
                self._many = _unnamed("CREATE TABLE ids (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
            return None
        if (early := self._few.get(custom_id)) is not None:
            return early
        from sqlite3 import IntegrityError

        try:
            self._many.execute("INSERT INTO ids VALUES (?, ?)", (custom_id, line))
        except IntegrityError:
            row = self._many.execute("SELECT line FROM ids WHERE id = ?", (custom_id,)).fetchone()
            return int(row[0])
        return None

    def close(self) -> None:
        """Let go of what was noted."""
        self._few.clear()
        if self._many is not None:
            self._many.close()
            self._many = None


_BINS = 256
_MASK = _BINS - 1
IN_BINS = 1_000_000
"""Hashes that are kept in memory before they go to disk: 8 MB."""


class Hashes:
    """Tells at the end whether all ids were different: many times faster than `Seen`, which can then tell where.

    Each id is a hash of 64 bits, in one of 256 bins by its last eight, so that one bin fits into memory for any input.
    Two ids that share a hash count as equal, which among a million ids happens in one of 37 million files.
    """

    def __init__(self) -> None:
        self._bins = [array("q") for _ in range(_BINS)]
        self._put = [each.append for each in self._bins]
        self._count = 0
        self._disk: IO[bytes] | None = None
        self._places: list[list[int]] = []

    def add(self, ids: Sequence[bytes]) -> None:
        """Note ids, as UTF-8. Raises BatchError where the disk has no room for them."""
        put = self._put
        for mark in map(hash, ids):
            put[mark & _MASK](mark)
        self._count += len(ids)
        if self._count >= IN_BINS:
            self._spill()

    def first(self, custom_id: str, _line: int) -> int | None:
        """Note one id, as `Seen` does; whether it was seen before is not told yet."""
        if self._count >= IN_BINS:
            self._spill()
        mark = hash(custom_id.encode())
        self._put[mark & _MASK](mark)
        self._count += 1
        return None

    def different(self) -> bool:
        """Tell whether no id came twice."""
        return all(len(set(marks)) == len(marks) for marks in map(self._bin, range(_BINS)))

    def close(self) -> None:
        """Let go of what was noted."""
        for each in self._bins:
            del each[:]
        if self._disk is not None:
            self._disk.close()
            self._disk = None

    def _spill(self) -> None:
        """Append all bins to the file, one after the other, and note where each begins."""
        import tempfile

        try:
            if self._disk is None:
                self._disk = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
            place = self._disk.seek(0, os.SEEK_END)
            self._places.append(list(accumulate((8 * len(each) for each in self._bins), initial=place)))
            for each in self._bins:
                each.tofile(self._disk)
                del each[:]
            self._disk.flush()
        except OSError as exc:
            raise BatchError(
                f"cannot keep the ids in {tempfile.gettempdir()}: {exc.strerror}", hint="make room"
            ) from exc
        self._count = 0

    def _bin(self, number: int) -> array[int]:
        """Return one whole bin: what is in memory, and what went to disk."""
        marks = array("q", self._bins[number])
        if self._disk is not None:
            for places in self._places:
                self._disk.seek(places[number])
                marks.frombytes(self._disk.read(places[number + 1] - places[number]))
        return marks


def _unnamed(table: str) -> sqlite3.Connection:
    """Open SQLite's unnamed database, private to this process and gone with it, with one table."""
    import sqlite3

    base = sqlite3.connect("", isolation_level=None)
    base.execute("PRAGMA journal_mode = OFF")
    base.execute("PRAGMA synchronous = OFF")
    base.execute(table)
    base.execute("BEGIN")
    return base
