"""The server's state: files, batches and rows in one SQLite file.

No other file of this package uses SQL. With SQLite's rollback journal this one file is the whole database. A row is
pending until its result is recorded: a crash loses only results that were not recorded yet, and their rows are run
again. Result lines are in a journal file of each batch; a row has their place in it.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_batch.errors import BatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

PENDING, SUCCEEDED, FAILED = 0, 1, 2
ACTIVE = ("validating", "in_progress", "finalizing", "cancelling")
_VERSION = 1
_DELETED_AT_ONCE = 20_000

_SCHEMA = """
CREATE TABLE files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, bytes INTEGER NOT NULL,
    created_at REAL NOT NULL, expires_at REAL, filename TEXT NOT NULL, purpose TEXT NOT NULL, sha256 TEXT NOT NULL
);
CREATE TABLE batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, endpoint TEXT NOT NULL,
    input_file_id TEXT NOT NULL, completion_window TEXT NOT NULL, status TEXT NOT NULL, created_at REAL NOT NULL,
    expires_at REAL NOT NULL, output_seconds INTEGER, metadata TEXT, model TEXT, errors TEXT,
    output_file_id TEXT, error_file_id TEXT, in_progress_at REAL, finalizing_at REAL, completed_at REAL,
    failed_at REAL, expired_at REAL, cancelling_at REAL, cancelled_at REAL,
    total INTEGER NOT NULL DEFAULT 0, completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0, cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0, reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    total_tokens INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX batches_by_status ON batches (status);
CREATE TABLE rows (
    batch INTEGER NOT NULL, line INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    custom_id TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0, answer_start INTEGER, answer_length INTEGER,
    PRIMARY KEY (batch, line)
) WITHOUT ROWID;
CREATE TABLE created (key TEXT PRIMARY KEY, request TEXT NOT NULL, answer TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One stored file; times are Unix seconds."""

    id: str  # its id in the API, and its name in the folder of files
    bytes: int  # its size
    created_at: float  # when it was stored
    expires_at: float | None  # when it may be deleted; None is never
    filename: str  # the client's name for it
    purpose: str  # `batch` or `batch_output`
    sha256: str  # its digest in hexadecimal digits
    seq: int = 0  # its number in the order of creation


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch as stored. Fields that the API has mean the same there; times are Unix seconds."""

    id: str
    endpoint: str
    input_file_id: str
    completion_window: str  # the time limit as the client gave it, such as 24h
    status: str
    created_at: float
    expires_at: float  # when its window ends
    output_seconds: int | None = None  # seconds that its result files are kept; None is the default
    metadata: str | None = None  # the client's metadata as JSON
    model: str | None = None  # the model of the first request, if it names one
    errors: str | None = None  # why the batch failed, as the JSON of the API
    # The files and the times at which it got its statuses.
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None
    # Counts of rows, and the tokens that their responses report.
    total: int = 0
    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    seq: int = 0  # its number in the order of creation; rows refer to it


class RowRecord(NamedTuple):
    """One request of a batch."""

    line: int  # its line in the input, from 1 on
    start: int  # where the line begins in the input, in bytes
    length: int  # the bytes of the line
    custom_id: str  # the client's id for the request
    state: int = PENDING  # PENDING, SUCCEEDED or FAILED
    answer_start: int | None = None  # where its result line begins in the journal, in bytes; None while it is pending
    answer_length: int | None = None  # the bytes of its result line


class RowResult(NamedTuple):
    """The result of a row, to be recorded."""

    batch: int  # the sequence number of its batch
    line: int  # its line in the input
    state: int  # SUCCEEDED or FAILED
    answer_start: int  # where its result line begins in the journal, in bytes
    answer_length: int  # the bytes of its result line
    tokens: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)  # input, cached, output, reasoning and total tokens


class Store:
    """The SQLite file. Any thread may call it; each method is one transaction. Methods raise BatchError."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        path.chmod(0o600)
        self._db.row_factory = sqlite3.Row
        self._db.executescript("PRAGMA journal_mode=DELETE; PRAGMA synchronous=EXTRA; PRAGMA cache_size=-8000")
        self._db.execute("PRAGMA fullfsync=ON")  # for macOS, see `files.atomic.sync`
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT")
        elif version != _VERSION:
            self._db.close()
            raise BatchError(
                f"{path} was written by another version of this package (format {version}, not {_VERSION})",
                hint=f"use that version, or remove {path.parent} with all local batches in it",
            )

    def close(self) -> None:
        """Close the file; the store cannot be used after that."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _read(self, sql: str, *args: object) -> list[sqlite3.Row]:
        with self._lock, _translated():
            return self._db.execute(sql, args).fetchall()

    def add_file(self, record: FileRecord) -> None:
        """Record a file that is on the disk already."""
        with self._transaction() as db:
            _insert(db, "files", record)

    def file(self, file_id: str) -> FileRecord | None:
        """Return the file called `file_id`, or None."""
        rows = self._read("SELECT * FROM files WHERE id = ?", file_id)
        return FileRecord(**rows[0]) if rows else None

    def files(self, *, purpose: str | None, after: int | None, limit: int, newest_first: bool) -> list[FileRecord]:
        """Return up to `limit` files after the one with the sequence number `after`, in the given order."""
        sign, order = ("<", "DESC") if newest_first else (">", "ASC")
        rows = self._read(
            f"SELECT * FROM files WHERE (?1 IS NULL OR purpose = ?1) AND (?2 IS NULL OR seq {sign} ?2)"  # noqa: S608
            f" ORDER BY seq {order} LIMIT ?3",
            purpose,
            after,
            limit,
        )
        return [FileRecord(**row) for row in rows]

    def users_of(self, file_id: str) -> list[str]:
        """Return the ids of the unfinished batches that read the file."""
        rows = self._read(
            f"SELECT id FROM batches WHERE input_file_id = ? AND status IN {ACTIVE}",  # noqa: S608
            file_id,
        )
        return [row["id"] for row in rows]

    def delete_file(self, file_id: str) -> None:
        """Remove the file's record, if there is one."""
        with self._transaction() as db:
            db.execute("DELETE FROM files WHERE id = ?", (file_id,))

    def expired_files(self, now: float) -> list[str]:
        """Return the ids of the files that have expired and that no unfinished batch reads."""
        rows = self._read(
            "SELECT id FROM files WHERE expires_at < ? AND id NOT IN"  # noqa: S608
            f" (SELECT input_file_id FROM batches WHERE status IN {ACTIVE})",
            now,
        )
        return [row["id"] for row in rows]

    def add_batch(self, record: BatchRecord) -> None:
        """Record a new batch."""
        with self._transaction() as db:
            _insert(db, "batches", record)

    def add_batch_once(self, record: BatchRecord, key: str, request: str, answer: str) -> tuple[str, str]:
        """Record a new batch unless `key` was used before; return the first request and answer of the key."""
        with self._transaction() as db:
            first = db.execute("SELECT request, answer FROM created WHERE key = ?", (key,)).fetchone()
            if first is None:
                db.execute("INSERT INTO created VALUES (?, ?, ?)", (key, request, answer))
                _insert(db, "batches", record)
                return request, answer
            return first["request"], first["answer"]

    def created_by(self, key: str) -> tuple[str, str] | None:
        """Return the first request and answer of the idempotency key `key`, if it was used."""
        rows = self._read("SELECT request, answer FROM created WHERE key = ?", key)
        return (rows[0]["request"], rows[0]["answer"]) if rows else None

    def batch(self, batch_id: str) -> BatchRecord | None:
        """Return the batch called `batch_id`, or None."""
        rows = self._read("SELECT * FROM batches WHERE id = ?", batch_id)
        return BatchRecord(**rows[0]) if rows else None

    def batches(self, *, after: int | None, limit: int) -> list[BatchRecord]:
        """Return up to `limit` batches older than the sequence number `after`, newest first."""
        rows = self._read("SELECT * FROM batches WHERE ?1 IS NULL OR seq < ?1 ORDER BY seq DESC LIMIT ?2", after, limit)
        return [BatchRecord(**row) for row in rows]

    def unfinished(self) -> list[BatchRecord]:
        """Return every batch that has not ended, oldest first."""
        rows = self._read(f"SELECT * FROM batches WHERE status IN {ACTIVE} ORDER BY seq")  # noqa: S608
        return [BatchRecord(**row) for row in rows]

    def move(
        self, batch_id: str, old: Sequence[str], new: str, *, files: Iterable[FileRecord] = (), **columns: object
    ) -> bool:
        """Change a batch's status if it is one of `old`, with further columns and new files; return whether it was."""
        assignments = "".join(f", {name} = ?" for name in columns)
        marks = ", ".join("?" * len(old))
        with self._transaction() as db:
            moved = db.execute(
                f"UPDATE batches SET status = ?{assignments} WHERE id = ? AND status IN ({marks})",  # noqa: S608
                (new, *columns.values(), batch_id, *old),
            ).rowcount
            if moved:
                for record in files:
                    db.execute("DELETE FROM files WHERE id = ?", (record.id,))
                    _insert(db, "files", record)
            return moved > 0

    def add_rows(self, batch: int, rows: Iterable[RowRecord]) -> None:
        """Add the requests of the batch with the sequence number `batch`."""
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO rows (batch, line, start, length, custom_id) VALUES (?, ?, ?, ?, ?)",
                ((batch, *row[:4]) for row in rows),
            )

    def drop_rows(self, batch: int) -> None:
        """Remove the rows of a batch, in several transactions, so that other calls need not wait long."""
        more = True
        while more:
            with self._transaction() as db:
                more = (
                    db.execute(
                        "DELETE FROM rows WHERE batch = ?1 AND line IN"
                        " (SELECT line FROM rows WHERE batch = ?1 ORDER BY line LIMIT ?2)",
                        (batch, _DELETED_AT_ONCE),
                    ).rowcount
                    > 0
                )

    def rows(self, batch: int, *, after: int, limit: int, pending: bool = False) -> list[RowRecord]:
        """Return up to `limit` rows after the line `after` (only those without a result if `pending`), in order."""
        only = f"AND state = {PENDING}" if pending else ""
        found = self._read(
            "SELECT line, start, length, custom_id, state, answer_start, answer_length FROM rows"  # noqa: S608
            f" WHERE batch = ? AND line > ? {only} ORDER BY line LIMIT ?",
            batch,
            after,
            limit,
        )
        return [RowRecord(*row) for row in found]

    def journal_end(self, batch: int) -> int:
        """Return where the recorded result lines of a batch end in its journal, in bytes."""
        rows = self._read("SELECT max(answer_start + answer_length) AS top FROM rows WHERE batch = ?", batch)
        return int(rows[0]["top"] or 0)

    def record(self, done: Sequence[RowResult]) -> None:
        """Record results and add them to the counts of their batches, in one commit."""
        sums: dict[int, list[int]] = {}
        for row in done:
            total = sums.setdefault(row.batch, [0] * 7)
            total[0 if row.state == SUCCEEDED else 1] += 1
            for place, tokens in enumerate(row.tokens, start=2):
                total[place] += tokens
        with self._transaction() as db:
            db.executemany(
                "UPDATE rows SET state = ?, answer_start = ?, answer_length = ? WHERE batch = ? AND line = ?",
                ((row.state, row.answer_start, row.answer_length, row.batch, row.line) for row in done),
            )
            db.executemany(
                "UPDATE batches SET completed = completed + ?, failed = failed + ?, input_tokens = input_tokens + ?,"
                " cached_tokens = cached_tokens + ?, output_tokens = output_tokens + ?,"
                " reasoning_tokens = reasoning_tokens + ?, total_tokens = total_tokens + ? WHERE seq = ?",
                ((*total, batch) for batch, total in sums.items()),
            )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise BatchError(
            f"the local store cannot be used: {exc}", hint="see whether the disk is full or read-only"
        ) from exc


def _insert(db: sqlite3.Connection, table: str, record: Any) -> None:
    names = [field.name for field in fields(record) if field.name != "seq"]
    marks = ", ".join("?" * len(names))
    db.execute(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608
        [getattr(record, name) for name in names],
    )
