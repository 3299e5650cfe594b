"""The rows of a job that are not sent, and where their results come from: another row, or an earlier job.

`reused.sqlite` in the job's folder has a record for each row that is not sent. Memory does not grow with the rows.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from openai_batch.errors import BatchError, NotFoundError
from openai_batch.results.merge import OrderedResult
from openai_batch.results.outcome import OUTCOMES
from openai_batch.results.plain_success import verdict_of

from .row_set import RowSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from openai_batch.results.result import Judge

THIS_JOB = 0
"""Means the job itself, in the place of the number of a file of answers."""

MAX_OPEN_FILES = 16
"""How many files of answers are open at a time. An input that grows each day adds one file each day."""

_SCHEMA = """
    -- The rows that are not sent. If file is 0, place is the number of an earlier row with the same request.
    -- Otherwise file is the id of a file of answers, and place is where the line begins in it, in bytes.
    CREATE TABLE skipped (row INTEGER PRIMARY KEY, file INTEGER NOT NULL, place INTEGER NOT NULL);
    -- The files of answers of earlier jobs, as UID/NAME in the folder of all jobs. Ids count from 1.
    CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
"""
_OFFSET = struct.Struct("<Q")


class SkippedRow(NamedTuple):
    """A row that is not sent, and where its result is."""

    row: int  # its number, from 0
    file: int  # THIS_JOB, or the number of a file of answers
    place: int  # THIS_JOB: the number of the row with the same request; otherwise where the line begins, in bytes


class SkippedRows:
    """The table of the rows that are not sent; `skipped_rows` opens it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._files: dict[str, int] = {name: n for n, name in db.execute("SELECT id, name FROM files ORDER BY id")}

    def __iter__(self) -> Iterator[SkippedRow]:
        """Yield the records in the order of the rows."""
        yield from map(SkippedRow._make, self._db.execute("SELECT row, file, place FROM skipped ORDER BY row"))

    def __contains__(self, row: int) -> bool:
        """Return whether a row is not sent."""
        return row in self._rows

    def find(self, row: int) -> SkippedRow | None:
        """Return the record of a row; None if it is sent."""
        record = self._db.execute("SELECT row, file, place FROM skipped WHERE row = ?", (row,)).fetchone()
        return None if record is None else SkippedRow._make(record)

    def originals(self) -> RowSet:
        """Return the rows whose results other rows have too."""
        rows = RowSet()
        for (row,) in self._db.execute("SELECT place FROM skipped WHERE file = ?", (THIS_JOB,)):
            rows.add(row)
        return rows

    def files(self) -> list[str]:
        """Return the names of the files of answers, number 1 first."""
        return list(self._files)

    def count(self) -> tuple[int, int]:
        """Return how many rows have the same request as another row, and how many have an answer of an earlier job."""
        sql = "SELECT count(*), coalesce(sum(file = ?), 0) FROM skipped"
        total, repeated = self._db.execute(sql, (THIS_JOB,)).fetchone()
        return repeated, total - repeated

    def add(self, rows: Iterable[tuple[int, int, int]]) -> None:
        """Add rows as (row, file, place). None of them may be in the table yet."""

        def remembered() -> Iterator[tuple[int, int, int]]:
            for record in rows:
                self._rows.add(record[0])
                yield record

        self._db.executemany("INSERT INTO skipped VALUES (?, ?, ?)", remembered())

    def number_of(self, name: str) -> int:
        """Return the number of a file of answers; a new file gets the next one."""
        if name not in self._files:
            self._files[name] = len(self._files) + 1
            self._db.execute("INSERT INTO files VALUES (?, ?)", (self._files[name], name))
        return self._files[name]

    def resolve(self) -> None:
        """Give each row that repeats another row the answer of an earlier job if the other row has one."""
        self._db.execute(
            "INSERT OR REPLACE INTO skipped SELECT copy.row, first.file, first.place FROM skipped AS copy"
            " JOIN skipped AS first ON first.row = copy.place WHERE copy.file = ?",
            (THIS_JOB,),
        )

    @cached_property
    def _rows(self) -> RowSet:
        rows = RowSet()
        for (row,) in self._db.execute("SELECT row FROM skipped"):
            rows.add(row)
        return rows


@contextlib.contextmanager
def skipped_rows(path: Path, mode: Literal["ro", "rw", "rwc"] = "ro") -> Iterator[SkippedRows]:
    """Open a table to read it (ro), to change it (rw), or a new one that replaces an existing one (rwc).

    A written table is a work file: it is durable only after it is copied. Raises BatchError if SQLite reports an error.
    """
    if mode == "rwc":
        path.unlink(missing_ok=True)
    # A table in a job's folder is never changed in place, so reading it needs no locks.
    with work_database(path, f"mode={mode}{'&immutable=1' if mode == 'ro' else ''}") as db:
        if mode == "rwc":
            db.executescript(_SCHEMA)
        db.execute("BEGIN")
        yield SkippedRows(db)
        db.execute("COMMIT")


def count_skipped(path: Path) -> int:
    """Return how many rows of a job are not sent."""
    with skipped_rows(path) as skipped:
        return sum(skipped.count())


@dataclass(frozen=True, slots=True)
class SubmitPlan:
    """The stored plan of a job: the fingerprints of its requests, and the rows that are not sent."""

    keys: Path
    """The file with the fingerprints of the requests (`requests/fingerprints`)."""
    input_name: Path
    """A file with the job's `input_name`."""
    path: Path
    """The table of the rows that are not sent (`SkippedRows`)."""
    repeated: int = 0
    """How many rows have the same request as another row."""
    answered: int = 0
    """How many rows have an answer of an earlier job."""

    @property
    def count(self) -> int:
        """How many rows are not sent."""
        return self.repeated + self.answered


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """The answers of a job's own batches, stored for later jobs with the same requests."""

    lines: Path
    """One result line for each answer, in the order of the rows."""
    offsets: Path
    """Eight bytes for each row, little-endian: where its line begins, plus 1; 0 if it has none."""

    def write(self, results: Iterator[OrderedResult], lines: BinaryIO, offsets: BinaryIO) -> None:
        """Write the answers among `results`, which come in the order of the rows."""
        offset = done = 0
        for row, outcome, line in results:
            if outcome.answered:
                offsets.write(bytes(_OFFSET.size * (row - done)) + _OFFSET.pack(offset + 1))
                done = row + 1
                lines.write(line)
                offset += len(line)

    def offset_of(self, row: int, offsets: BinaryIO) -> int | None:
        """Return where the line of a row begins; None if it has none."""
        offsets.seek(row * _OFFSET.size)
        packed = offsets.read(_OFFSET.size)
        return int(_OFFSET.unpack(packed)[0]) - 1 if packed.strip(b"\0") else None


class AnswerFiles:
    """The files of answers that a job uses, numbered from 1. At most MAX_OPEN_FILES are open at a time."""

    def __init__(self, paths: Sequence[Path], job: int) -> None:
        self._paths = paths
        self._job = job
        self._open: dict[int, BinaryIO] = {}

    def line(self, file: int, offset: int) -> bytes:
        """Return the line that begins at an offset of a file. Raises NotFoundError if the file does not exist."""
        handle = self._open.pop(file, None) or self._opened(file)
        self._open[file] = handle  # the one used last comes last
        handle.seek(offset)
        return handle.readline()

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].close()

    def _opened(self, file: int) -> BinaryIO:
        if len(self._open) >= MAX_OPEN_FILES:
            self._open.pop(next(iter(self._open))).close()
        path = self._paths[file - 1]
        try:
            return path.open("rb")
        except FileNotFoundError as exc:
            raise NotFoundError(
                f"the answers that job {self._job} takes from an earlier job are gone ({path})",
                hint="`obatch run` with the input again and --again sends every row again, and you pay for them again",
            ) from exc


def completed(
    results: Iterator[OrderedResult], skipped: SkippedRows, files: AnswerFiles, scratch: Path, judge: Judge
) -> Iterator[OrderedResult]:
    """Yield `results`, which come in the order of the rows, and the results of the skipped rows at their places.

    `scratch` is an empty file: it stores the results that other rows have too. `judge` reads a line. Raises
    NotFoundError if a file of answers is gone.
    """
    originals = skipped.originals()
    with work_database(scratch, "mode=rw&nolock=1") as shared:
        shared.execute("CREATE TABLE shared (row INTEGER PRIMARY KEY, outcome INTEGER NOT NULL, line BLOB NOT NULL)")
        shared.execute("BEGIN")

        def reused(row: int, file: int, place: int) -> OrderedResult | None:
            if file != THIS_JOB:
                line = files.line(file, place)
                return OrderedResult(row, verdict_of(line, judge).outcome, line)
            original = shared.execute("SELECT outcome, line FROM shared WHERE row = ?", (place,)).fetchone()
            return None if original is None else OrderedResult(row, OUTCOMES[original[0]], original[1])

        following = iter(skipped)
        record = next(following, None)
        for result in itertools.chain(results, (None,)):  # after the last result come the skipped rows that are left
            while record is not None and (result is None or record.row < result.row):
                if (copy := reused(*record)) is not None:
                    yield copy
                record = next(following, None)
            # Another machine may have planned this job differently, and sent a row that is skipped here.
            if result is None or (record is not None and record.row == result.row):
                continue
            if result.row in originals:
                shared.execute("INSERT INTO shared VALUES (?, ?, ?)", (result.row, result.outcome.number, result.line))
            yield result


@contextlib.contextmanager
def work_database(path: Path, options: str) -> Iterator[sqlite3.Connection]:
    """Open a work file: fast, but not safe if the machine crashes. SQLite's errors become BatchError."""
    try:
        # The garbage collector may close an unfinished generator in another thread.
        uri = f"{path.absolute().as_uri()}?{options}"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)) as db:
            db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;")
            yield db
    except sqlite3.Error as exc:
        raise BatchError(f"cannot use {path}: {exc}") from exc
