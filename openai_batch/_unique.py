"""Find out that an id was seen before, for any number of ids: they are kept in SQLite, which goes to disk."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator


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


def _unnamed(table: str) -> sqlite3.Connection:
    """Open SQLite's unnamed database, private to this process and gone with it, with one table."""
    import sqlite3

    base = sqlite3.connect("", isolation_level=None)
    base.execute("PRAGMA journal_mode = OFF")
    base.execute("PRAGMA synchronous = OFF")
    base.execute(table)
    base.execute("BEGIN")
    return base
