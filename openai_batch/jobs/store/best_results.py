"""The best of several results for each request of an input, in a work file: memory does not grow with the requests."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .reused_answers import work_database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from openai_batch.results.outcome import Outcome


@contextlib.contextmanager
def best_results(path: Path, ids: Iterable[str]) -> Iterator[BestResults]:
    """Give an empty table of results for requests with these ids, in a new work file. Raises BatchError."""
    with work_database(path, "mode=rwc&nolock=1") as db:
        db.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, row INTEGER NOT NULL) WITHOUT ROWID")
        db.execute("CREATE TABLE results (row INTEGER PRIMARY KEY, outcome INTEGER NOT NULL, new INTEGER, line BLOB)")
        db.execute("BEGIN")
        db.executemany("INSERT INTO ids VALUES (?, ?)", ((each, row) for row, each in enumerate(ids)))
        yield BestResults(db)


class BestResults:
    """The table; `best_results` opens it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.unknown = 0  # how many results have an id that no request has
        self.repeats = 0  # how many are for a request that had one before, among those that are new

    def add(self, custom_id: str, outcome: Outcome, line: bytes, *, new: bool = True) -> None:
        """Add a result. It replaces another one of its request only if it is better."""
        found = self._db.execute(
            "SELECT ids.row, outcome, new FROM ids LEFT JOIN results ON results.row = ids.row WHERE id = ?",
            (custom_id,),
        ).fetchone()
        if found is None:
            self.unknown += 1
            return
        row, known, is_new = found
        self.repeats += bool(new and is_new)
        if known is None or outcome.number < known:
            values = (row, outcome.number, new, line if new else b"")
            self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", values)

    def new(self, first: int, count: int) -> Iterator[tuple[int, bytes]]:
        """Yield (number of the outcome, line) for each of `count` requests from `first` on whose best result is new."""
        sql = "SELECT outcome, line FROM results WHERE row >= ? AND row < ? AND new ORDER BY row"
        yield from self._db.execute(sql, (first, first + count))
