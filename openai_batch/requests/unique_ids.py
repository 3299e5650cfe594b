"""Find repeated ids. `IdHashes` only shows whether there are any; `unique_ids` also shows where each was seen first.

The message about a repeated `custom_id` is in `check`.
"""

from __future__ import annotations

from array import array
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@contextmanager
def unique_ids() -> Iterator[Callable[[str, str], str | None]]:
    """Give a function that takes an id and its place, and returns the place where the id was seen before, or None.

    The ids are in a temporary SQLite database: memory stays small for any number of them.
    """
    import sqlite3

    with closing(sqlite3.connect("", isolation_level=None)) as database:  # without a name, SQLite deletes it
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID")
        database.execute("BEGIN")

        def seen(custom_id: str, place: str) -> str | None:
            try:
                database.execute("INSERT INTO ids VALUES (?, ?)", (custom_id, place))
            except sqlite3.IntegrityError:
                row = database.execute("SELECT place FROM ids WHERE id = ?", (custom_id,)).fetchone()
                return str(row[0])
            return None

        yield seen


_BINS = 256


class IdHashes:
    """Finds out whether all ids of a file are different, with 8 bytes of memory per id.

    It does not show which ids are equal: `unique_ids` does, and is many times slower. Two ids with the same 64-bit hash
    count as equal, which happens in one of 37 million files of a million ids. The hashes are in 256 lists, by their
    last eight bits, so that only one list at a time must be made a set.
    """

    def __init__(self) -> None:
        self._bins = [array("q") for _ in range(_BINS)]
        self._put = [each.append for each in self._bins]

    def add(self, ids: Iterable[str]) -> None:
        """Add ids."""
        put = self._put
        for value in map(hash, ids):
            put[value % _BINS](value)

    def seen(self, custom_id: str, _place: str) -> None:
        """Add one id. Unlike the function of `unique_ids`, this does not know where it was seen before."""
        self.add((custom_id,))

    def all_unique(self) -> bool:
        """Return whether no id was added twice."""
        return not self.repeated()

    def repeated(self) -> int:
        """Return how many of the ids were added before."""
        return sum(len(values) - len(set(values)) for values in self._bins)
