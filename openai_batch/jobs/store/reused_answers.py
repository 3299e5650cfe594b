"""The rows of a job that are not sent, and where their results come from: another row, or an earlier job.

`reused.sqlite` in the job's folder has a record for each range of rows that are not sent and have the answers of a
range of rows of an earlier job.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sqlite3
import struct
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple, Self
from zlib import crc32

from openai_batch.errors import BatchError, NotFoundError
from openai_batch.requests.row_set import RowSet
from openai_batch.results.merge import OrderedResult, Successes
from openai_batch.results.outcome import OUTCOMES, Outcome
from openai_batch.results.plain_success import verdict_of
from openai_batch.results.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from openai_batch.results.result import Judge

THIS_JOB = 0
"""Means the job itself, in the place of the number of a file of answers."""

MAX_OPEN_FILES = 16
"""How many files of answers are open at a time, each with its index. An input that grows each day adds one each day."""

_SCHEMA = """
    -- The rows that are not sent, in ranges. If file is 0, the length is 1, and place is the number of an earlier row
    -- with the same request. Otherwise file is the id of a file of answers, and place is the number of a row of the job
    -- that the file belongs to: the answers of the rows from there on are those of the range.
    CREATE TABLE skipped (
        row INTEGER PRIMARY KEY, length INTEGER NOT NULL, file INTEGER NOT NULL, place INTEGER NOT NULL
    );
    -- The files of answers of earlier jobs, as UID/NAME in the folder of all jobs. Ids count from 1.
    CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
"""
_SELECT = "SELECT row, length, file, place FROM skipped"
_ENTRY = struct.Struct("<Q")
_SUCCESS = Outcome.SUCCESS.number + 1  # its code
_ANSWERED = re.compile(rb"[^\0]+")  # the codes of rows that have answers
_ROWS_AT_ONCE = 4096
_BLOCK = 1 << 18  # how many bytes of answers are read at once
_PAY_AGAIN = "`obatch run` with the input again and --again sends every row again, and you pay for them again"


class SkippedRows(NamedTuple):
    """A range of rows that are not sent, and where their results are."""

    row: int  # the number of the first row, from 0
    length: int  # how many rows it has; 1 for THIS_JOB
    file: int  # THIS_JOB, or the number of a file of answers
    # THIS_JOB: the number of the row with the same request; otherwise the first row in the job of the file of answers.
    place: int

    def is_followed_by(self, other: SkippedRows) -> bool:
        """Return whether another range follows this one, in this job and in the job of the file of answers."""
        row, length, file, place = self
        return file != THIS_JOB and other.file == file and (other.row - row, other.place - place) == (length, length)

    def part(self, row: int, end: int) -> SkippedRows:
        """Return the part of the range from `row` on, before `end`."""
        first, last = max(row, self.row), min(end, self.row + self.length)
        return SkippedRows(first, last - first, self.file, self.place + first - self.row)


class SkippedTable:
    """The table of the rows that are not sent; `skipped_rows` opens it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._files: dict[str, int] = {name: n for n, name in db.execute("SELECT id, name FROM files ORDER BY id")}

    def __iter__(self) -> Iterator[SkippedRows]:
        """Yield the ranges in the order of the rows. Ranges that follow each other in both jobs are yielded as one."""
        found = None
        for record in map(SkippedRows._make, self._db.execute(f"{_SELECT} ORDER BY row")):
            if found is not None and found.is_followed_by(record):
                found = found._replace(length=found.length + record.length)
                continue
            if found is not None:
                yield found
            found = record
        if found is not None:
            yield found

    def __contains__(self, row: int) -> bool:
        """Return whether a row is not sent."""
        return row in self.rows

    def among(self, row: int, count: int) -> Iterator[SkippedRows]:
        """Yield the ranges, or parts of them, that are among `count` rows from `row` on, in the order of the rows."""
        before = self._db.execute("SELECT max(row) FROM skipped WHERE row <= ?", (row,)).fetchone()[0] or 0
        records = self._db.execute(f"{_SELECT} WHERE row >= ? AND row < ? ORDER BY row", (before, row + count))
        for record in map(SkippedRows._make, records):
            part = record.part(row, row + count)
            if part.length > 0:
                yield part

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Yield (row, other row) for each row that has the result of another row, in the order of the rows."""
        yield from self._db.execute("SELECT row, place FROM skipped WHERE file = ? ORDER BY row", (THIS_JOB,))

    def originals(self) -> RowSet:
        """Return the rows whose results other rows have too."""
        rows = RowSet()
        for _, row in self.repeated():
            rows.add(row)
        return rows

    def files(self) -> list[str]:
        """Return the names of the files of answers, number 1 first."""
        return list(self._files)

    def count(self) -> tuple[int, int]:
        """Return how many rows have the same request as another row, and how many have an answer of an earlier job."""
        sql = "SELECT coalesce(sum(length), 0), coalesce(sum(length * (file = ?)), 0) FROM skipped"
        total, repeated = self._db.execute(sql, (THIS_JOB,)).fetchone()
        return repeated, total - repeated

    def add(self, ranges: Iterable[tuple[int, int, int, int]]) -> None:
        """Add ranges as (row, length, file, place). None of their rows may be in the table yet."""
        rows = self.rows

        def remembered() -> Iterator[tuple[int, int, int, int]]:
            for record in ranges:
                rows.add(record[0], record[1])
                yield record

        self._db.executemany("INSERT INTO skipped VALUES (?, ?, ?, ?)", remembered())

    def number_of(self, name: str) -> int:
        """Return the number of a file of answers; a new file gets the next one."""
        if name not in self._files:
            self._files[name] = len(self._files) + 1
            self._db.execute("INSERT INTO files VALUES (?, ?)", (self._files[name], name))
        return self._files[name]

    def resolve(self) -> None:
        """Give each row that repeats another row the answer of an earlier job if the other row has one."""
        self._db.execute(
            "INSERT OR REPLACE INTO skipped SELECT copy.row, 1, first.file, first.place + copy.place - first.row"
            " FROM skipped AS copy JOIN skipped AS first"
            " ON first.row = (SELECT max(row) FROM skipped WHERE row <= copy.place)"
            " WHERE copy.file = ? AND copy.place < first.row + first.length",
            (THIS_JOB,),
        )

    @cached_property
    def rows(self) -> RowSet:
        """The rows that are not sent."""
        rows = RowSet()
        for record in self:
            rows.add(record.row, record.length)
        return rows


@contextlib.contextmanager
def skipped_rows(path: Path, mode: Literal["ro", "rw", "rwc"] = "ro") -> Iterator[SkippedTable]:
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
        yield SkippedTable(db)
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
    """The table of the rows that are not sent (`SkippedTable`)."""
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

    @property
    def index(self) -> Path:
        """The file that says for each row where its line begins, and its outcome.

        It has eight bytes for each row, little-endian, after eight for the version of this package. The lowest byte is
        the number of the outcome plus 1, and 0 if the row has no answer.
        """
        return self.lines.with_suffix(".places")

    def write(self, results: Iterator[OrderedResult], lines: BinaryIO, index: BinaryIO) -> None:
        """Write the answers among `results`, which come in the order of the rows."""
        index.write(_ENTRY.pack(_version()))
        begin = done = 0
        for row, outcome, line in results:
            if outcome.answered:
                index.write(bytes(_ENTRY.size * (row - done)) + _ENTRY.pack(begin << 8 | outcome.number + 1))
                done = row + 1
                lines.write(line)
                begin += len(line)


class AnswerReader:
    """Reads a file of answers. A context manager."""

    def __init__(self, answers: AnswerFile) -> None:
        """Open the file and its index. Raises FileNotFoundError."""
        self._path = answers.lines
        with contextlib.ExitStack() as stack:
            self._lines = stack.enter_context(answers.lines.open("rb"))
            self._index = stack.enter_context(answers.index.open("rb"))
            self._files = stack.pop_all()
        # Whether the outcomes are those that this version finds: another one may have read a result in another way.
        self._judged = self._index.read(_ENTRY.size) == _ENTRY.pack(_version())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._files.close()

    def ranges(self, row: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield (first row, count) for each range of those of `count` rows from `row` on that have answers."""
        for first in range(row, row + count, _ROWS_AT_ONCE):
            codes = self._entries(first, min(_ROWS_AT_ONCE, row + count - first))[:: _ENTRY.size]
            for found in _ANSWERED.finditer(codes):
                yield first + found.start(), len(found[0])

    def results(self, rows: SkippedRows, judge: Judge) -> Iterator[OrderedResult | Successes]:
        """Yield the results of rows that have answers of this file. `judge` reads a line.

        Raises NotFoundError if an answer is gone.
        """
        known = self._judged and judge == Result.of
        gone = NotFoundError(f"some answers in {self._path} are gone", hint=_PAY_AGAIN)
        for done in range(0, rows.length, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, rows.length - done)
            entries = self._entries(rows.place + done, count)
            codes = entries[:: _ENTRY.size]
            if len(entries) < _ENTRY.size * count or 0 in codes:
                raise gone
            begins = [entry >> 8 for (entry,) in _ENTRY.iter_unpack(entries)]
            start = 0
            while start < count:
                end = bisect_right(begins, begins[start] + _BLOCK)
                self._lines.seek(begins[start])
                lines = self._lines.read(begins[end - 1] - begins[start]) + self._lines.readline()
                if lines.count(b"\n") != end - start or not lines.endswith(b"\n"):  # the file was cut
                    raise gone
                found = Successes(rows.row + done + start, end - start, lines)
                if known and codes.count(_SUCCESS, start, end) == end - start:
                    yield found
                else:
                    for row, line in enumerate(found, found.row):
                        yield OrderedResult(row, verdict_of(line, judge).outcome, line)
                start = end

    def _entries(self, row: int, count: int) -> bytes:
        self._index.seek(_ENTRY.size * (row + 1))
        return self._index.read(_ENTRY.size * count)


def _version() -> int:
    from openai_batch.version import __version__

    return crc32(__version__.encode())


class AnswerFiles:
    """The files of answers that a job uses, numbered from 1. At most MAX_OPEN_FILES are open at a time."""

    def __init__(self, paths: Sequence[Path], job: int, judge: Judge) -> None:
        """`job` is the number of the job, and `judge` reads a line."""
        self._paths = paths
        self._job = job
        self._judge = judge
        self._open: dict[int, AnswerReader] = {}

    def results(self, rows: SkippedRows) -> Iterator[OrderedResult | Successes]:
        """Return the results of a range of rows. Raises NotFoundError if the file does not exist."""
        reader = self._open.pop(rows.file, None) or self._opened(rows.file)
        self._open[rows.file] = reader  # the one used last comes last
        return reader.results(rows, self._judge)

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._close(next(iter(self._open)))

    def _close(self, file: int) -> None:
        with self._open.pop(file):
            pass

    def _opened(self, file: int) -> AnswerReader:
        if len(self._open) >= MAX_OPEN_FILES:
            self._close(next(iter(self._open)))
        path = self._paths[file - 1]
        try:
            return AnswerReader(AnswerFile(path))
        except FileNotFoundError as exc:
            raise NotFoundError(
                f"the answers that job {self._job} takes from an earlier job are gone ({path})",
                hint=_PAY_AGAIN,
            ) from exc


def completed(
    results: Iterator[OrderedResult], skipped: SkippedTable, files: AnswerFiles, scratch: Path
) -> Iterator[OrderedResult | Successes]:
    """Yield `results`, which come in the order of the rows, and the results of the skipped rows at their places.

    `scratch` is an empty file: it stores the results that other rows have too. Raises NotFoundError if a file of
    answers is gone.
    """
    originals = skipped.originals()
    with work_database(scratch, "mode=rw&nolock=1") as shared:
        shared.execute("CREATE TABLE shared (row INTEGER PRIMARY KEY, outcome INTEGER NOT NULL, line BLOB NOT NULL)")
        shared.execute("BEGIN")
        following = iter(skipped)
        rows = next(following, None)
        end = 0  # the row after the last skipped one
        for result in itertools.chain(results, (None,)):  # after the last result come the skipped rows that are left
            while rows is not None and (result is None or rows.row <= result.row):
                if rows.file != THIS_JOB:
                    yield from files.results(rows)
                else:
                    sql = "SELECT outcome, line FROM shared WHERE row = ?"
                    for number, line in shared.execute(sql, (rows.place,)):
                        yield OrderedResult(rows.row, OUTCOMES[number], line)
                end = rows.row + rows.length
                rows = next(following, None)
            # Another machine may have planned this job differently, and sent a row that is skipped here.
            if result is None or result.row < end:
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
