"""Find out that an id was seen before, for any number of ids: they are kept in SQLite, which goes to disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def unique_ids() -> Iterator[Callable[[str, str], str | None]]:
    """Give a function of an id and its place, which returns the place where the id was seen before, or None.

    SQLite's unnamed database is private to this process and gone with it.
    """
    with closing(sqlite3.connect("", isolation_level=None)) as base:
        base.execute("PRAGMA journal_mode = OFF")
        base.execute("PRAGMA synchronous = OFF")
        base.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID")
        base.execute("BEGIN")

        def seen(custom_id: str, place: str) -> str | None:
            try:
                base.execute("INSERT INTO ids VALUES (?, ?)", (custom_id, place))
            except sqlite3.IntegrityError:
                row = base.execute("SELECT place FROM ids WHERE id = ?", (custom_id,)).fetchone()
                return str(row[0])
            return None

        yield seen
