"""Write results as flat rows instead of the provider's own lines: JSON lines, CSV or Parquet.

A row has the custom id, the columns of the table that the request was made from, the fields of a JSON answer if asked
for, and RESULT_COLUMNS. All columns are known only at the end, so the rows are first written to a temporary file, with
the columns known so far. Only one row (for Parquet, a group of rows) is in memory, and two copies are on the disk.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from openai_batch.errors import BatchError, UsageError
from openai_batch.files.workspace import workspace
from openai_batch.inputs.source_rows import read_rows
from openai_batch.inputs.sql import load_duckdb

from . import parquet_file
from .csv_file import csv_cells, csv_line
from .flatten import RESULT_COLUMNS, flat
from .outcome import Outcome
from .plain_success import plain_row
from .result import Result
from .result_line import UNREADABLE, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from .outcome import Verdict
    from .result import Judge

RAW = "raw"
FORMS = ("csv", "jsonl", "parquet", RAW, "rows")
"""`jsonl` and `raw` are the provider's own lines; `rows` are flat JSON lines."""

MAX_COLUMNS = 1000
"""The most columns of the input and of the answers together."""

_ENDINGS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_FENCE = re.compile(r"```[\w-]*\s*\n(.*?)\s*```", re.DOTALL)
_FIXED = {"prompt_tokens": parquet_file.INTEGER, "completion_tokens": parquet_file.INTEGER}


def form_of(name: str | Path | None, wanted: str | None, default: str = RAW) -> str:
    """Return the format `wanted`, or that of the ending of `name`, or `default`. Raises UsageError."""
    if wanted is not None and wanted not in FORMS:
        raise UsageError(f"--as {wanted} is not known", hint=f"the forms are {', '.join(FORMS)}")
    if wanted is None and name is not None:
        wanted = _ENDINGS.get(PurePath(name).suffix.lower())
    return RAW if wanted == "jsonl" else wanted or default


@dataclass(slots=True)
class Export:
    """Writes the results of one job in one form. `jobs/collect` calls `note` and `write`.

    Raises MissingExtraError for Parquet without DuckDB.
    """

    form: str
    """One of FORMS, but not `raw` or `jsonl`."""
    fields: bool = False
    """Whether the fields of JSON answers become columns."""
    safe: bool = True
    """Whether CSV cells that would be formulas are escaped."""
    columns: Path | None = None
    """The file with the rows that the requests were made from (`job_folder.columns_of`), if there is one."""
    judge: Judge = Result.of
    """Reads a result line."""
    without_fields: int = field(default=0, init=False)
    """With `fields`: how many answers are not a JSON object, so that they have no fields."""
    _spool: BinaryIO = field(init=False)  # the temporary file of rows, if the form is not Parquet
    _parquet: parquet_file.ParquetRows = field(init=False)
    _rows: Iterator[dict[str, Any]] = field(init=False)  # the rows of `columns`
    _input_row: dict[str, Any] = field(default_factory=dict, init=False)  # the row of the request noted last
    _input: _Columns = field(init=False)  # the columns of the input, of the answers and of the results
    _answer: _Columns = field(init=False)
    _result: _Columns = field(init=False)
    _keys: list[str] = field(init=False)  # a key for each column known so far
    _stretches: list[_Stretch] = field(init=False)

    def __post_init__(self) -> None:
        """Check that the form is available before anything is paid or downloaded."""
        if self.form == "parquet":
            load_duckdb()
        typed = self.form == "parquet"
        self._input, self._answer = _Columns(typed), _Columns(typed)
        self._result = _Columns(typed, dict.fromkeys(("custom_id", *RESULT_COLUMNS)) | _FIXED)

    def note(self, _row: int, custom_id: str, verdict: Verdict) -> None:
        """Take the next request, and how it ended. Its line, if it has one, is the next one in `write`."""
        self._input_row = next(self._rows, {})
        if verdict.outcome is Outcome.MISSING:
            self._keep(custom_id, flat(Result.missing(custom_id, verdict)), {})

    def write(self, lines: Iterable[bytes], out: BinaryIO) -> None:
        """Write the results, and rows for the missing ones that `note` was called for, to `out`. Raises BatchError."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(workspace())
            self._rows, self._stretches = iter(()), []
            if self.columns is not None:
                self._rows = read_rows(stack.enter_context(self.columns.open("rb")))
            self._parquet = stack.enter_context(contextlib.closing(parquet_file.ParquetRows(folder)))
            self._spool = stack.enter_context((folder / "spool").open("w+b"))
            any_success = self.judge == Result.of  # no schema must be looked at
            for line in lines:
                row = plain_row(line) if any_success else None
                if row is not None:
                    self._keep(row.custom_id, row.values, self._fields((row.answer,)))
                else:
                    result = self.judge(line)
                    has_fields = result.outcome in (Outcome.SUCCESS, Outcome.CUT)
                    fields = self._fields(result.texts) if has_fields else {}
                    self._keep(result.custom_id, flat(result), fields)
            if self._stretches:
                self._publish(out)

    def _fields(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the fields of the answer in these texts, if they are asked for."""
        if not self.fields:
            return {}
        fields = fields_of(texts)
        self.without_fields += fields is None
        return fields or {}

    def _keep(self, custom_id: str, result: tuple[Any, ...], fields: dict[str, Any]) -> None:
        """Write a row to the temporary file, and remember its columns and their types."""
        input_row, self._input_row = self._input_row, {}
        inputs, answers = self._input.add(input_row), self._answer.add(fields)
        if self._result.typed:
            self._result.add(dict(zip(self._result.types, (custom_id, *result), strict=True)))
        if not self._stretches or self._stretches[-1].width != (len(inputs), len(answers)):
            self._widen(len(inputs), len(answers))
        self._stretches[-1].rows += 1
        row = (custom_id, *map(input_row.get, inputs), *map(fields.get, answers), *result)
        if self.form == "csv":
            self._spool.write(csv_line(row, safe=self.safe))
        elif self.form == "parquet":
            self._parquet.add(dict(zip(self._keys, row, strict=True)))
        else:
            self._spool.write(msgspec.json.encode(row) + b"\n")

    def _widen(self, inputs: int, answers: int) -> None:
        """Begin a stretch of rows with more columns."""
        if inputs + answers > MAX_COLUMNS:
            raise BatchError(
                f"the results have more than {MAX_COLUMNS:,} columns",
                hint="leave --fields out, or get the provider's own lines with --as raw",
            )
        self._stretches.append(_Stretch((inputs, answers)))
        own = [f"r{number}" for number in range(len(self._result.types))]
        added = [f"i{number}" for number in range(inputs)] + [f"a{number}" for number in range(answers)]
        self._keys = [own[0], *added, *own[1:]]

    def _publish(self, out: BinaryIO) -> None:
        """Write the rows of the temporary file, each with every column."""
        self._spool.seek(0)
        names = self._headings()
        if self.form == "csv":
            out.write(csv_line(names, safe=self.safe))
            *narrow, _ = self._stretches
            for row in self._wide(csv_cells(self._spool), narrow, b""):
                out.write(b",".join(row) + b"\r\n")
            shutil.copyfileobj(self._spool, out, 1 << 20)
        elif self.form == "parquet":
            id_type, *rest = self._result.final_types()
            types = [id_type, *self._input.final_types(), *self._answer.final_types(), *rest]
            columns = zip(names, types, strict=True)
            self._parquet.write(dict(zip(self._keys, columns, strict=True)), out)
        else:
            rows = map(msgspec.json.Decoder(list[Any]).decode, self._spool)
            for row in self._wide(rows, self._stretches, None):
                out.write(msgspec.json.encode(dict(zip(names, row, strict=True))) + b"\n")

    def _wide(self, rows: Iterator[list[Any]], stretches: Iterable[_Stretch], empty: Any) -> Iterator[list[Any]]:
        """Yield the rows of these stretches with every column; cells of the columns that came later are `empty`."""
        inputs, answers = self._stretches[-1].width
        for stretch in stretches:
            known, found = stretch.width
            end = 1 + known + found
            for row in itertools.islice(rows, stretch.rows):
                row[end:end] = [empty] * (answers - found)
                row[1 + known : 1 + known] = [empty] * (inputs - known)
                yield row

    def _headings(self) -> list[str]:
        """Return the heading of each column. If names are equal, those of the input and of the answer get a prefix."""
        own = list(self._result.types)
        taken = {name.casefold() for name in own}
        headings = [own[0]]
        for prefix, names in (("input", self._input.types), ("answer", self._answer.types)):
            for name in names:
                heading, number = name, 1
                while not heading or heading.casefold() in taken:
                    heading = f"{prefix}_{name}" if number == 1 else f"{prefix}_{name}_{number}"
                    number += 1
                taken.add(heading.casefold())
                headings.append(heading)
        return headings + own[1:]


@dataclass(slots=True)
class _Stretch:
    """Rows of the temporary file, one after the other, that have the same columns."""

    width: tuple[int, int]
    """How many columns of the input and of the answers they have."""
    rows: int = 0
    """How many rows there are."""


@dataclass(slots=True)
class _Columns:
    """The columns seen so far, in order of appearance."""

    typed: bool
    """Whether the types are wanted: only Parquet has some."""
    types: dict[str, str | None] = field(default_factory=dict)
    """Each column, with the type that fits all of its values; None if all of them are None."""

    def add(self, row: dict[str, Any]) -> dict[str, str | None]:
        """Add the columns of a row, and return `types`."""
        types = self.types
        if not row.keys() <= types.keys():
            for name in row:
                types.setdefault(name)
        for name, value in row.items() if self.typed else ():
            known = types[name]
            if value is not None and known != parquet_file.TEXT:
                types[name] = parquet_file.common_type(known, parquet_file.type_of(value))
        return types

    def final_types(self) -> list[str]:
        """Return the types. A column without a value is text."""
        return [kind or parquet_file.TEXT for kind in self.types.values()]


def fields_of(texts: Sequence[str]) -> dict[str, Any] | None:
    """Return the fields of the last text that is a JSON object, in a code fence or not; None if none is one."""
    for text in reversed(texts):
        fenced = _FENCE.fullmatch(text.strip())
        found = fenced[1] if fenced else text.strip()
        if found.startswith("{"):
            with contextlib.suppress(*UNREADABLE):
                return dict(read_json(found))
    return None
