"""Find ids that come twice: quickly whether there are any, or with the place where each was seen first."""

from __future__ import annotations

from array import array
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator


@contextmanager
def unique_ids() -> Iterator[Callable[[str, str], str | None]]:
    """Give a function of an id and its place, which returns the place where the id was seen before, or None.

    The ids are in a temporary SQLite database: memory stays small for any number of them.
    """
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


_BINS = 256


class IdHashes:
    """Finds out whether all ids of a file are different, with 8 bytes of memory per id.

    It does not tell which ids are equal: `unique_ids` does, and is many times slower. Two ids with the same 64-bit hash
    count as equal, which happens in one of 37 million files of a million ids. The hashes are kept in 256 lists by
    their last eight bits, so that only one list at a time becomes a set.
    """

    def __init__(self) -> None:
        self._bins = [array("q") for _ in range(_BINS)]
        self._put = [each.append for each in self._bins]

    def add(self, ids: Iterable[str]) -> None:
        """Note ids."""
        put = self._put
        for mark in map(hash, ids):
            put[mark % _BINS](mark)

    def seen(self, custom_id: str, _place: str) -> None:
        """Note one id; unlike the function of `unique_ids`, this cannot tell where it was seen before."""
        self.add((custom_id,))

    def all_unique(self) -> bool:
        """Tell whether no id came twice."""
        return all(len(set(marks)) == len(marks) for marks in self._bins)


def _unnamed(table: str) -> sqlite3.Connection:
    """Open SQLite's unnamed database, private to this process and gone with it, with one table."""
    import sqlite3

    base = sqlite3.connect("", isolation_level=None)
    base.execute("PRAGMA journal_mode = OFF")
    base.execute("PRAGMA synchronous = OFF")
    base.execute(table)
    base.execute("BEGIN")
    return base
