"""Write results in another form than the provider's own lines: flat rows as JSON lines, CSV or Parquet.

A row is the custom id, the columns of the table that the request was made of, the fields of a JSON answer where they
are asked for, and RESULT_COLUMNS. Which columns there are is known at the end only, so rows are spooled first: memory
holds one of them (for Parquet a row group), and the disk two copies.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from openai_batch.errors import BatchError, UsageError
from openai_batch.files.workspace import workspace
from openai_batch.inputs.source_rows import read_rows
from openai_batch.inputs.sql import load_duckdb

from . import parquet_file
from .csv_file import write_csv
from .flatten import MISSING_ROW, RESULT_COLUMNS, flat
from .merge import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

RAW = "raw"
FORMS = ("csv", "jsonl", "parquet", RAW, "rows")
"""`jsonl` is `raw`, the provider's own lines; `rows` are flat JSON lines."""

MAX_COLUMNS = 1000
_ENDINGS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_FIXED = {"prompt_tokens": parquet_file.WHOLE, "completion_tokens": parquet_file.WHOLE}


def form_of(name: str | Path | None, wanted: str | None, default: str = RAW) -> str:
    """Return the form that is asked for, or that a file's name says, or the default one. Raises UsageError."""
    if wanted is not None and wanted not in FORMS:
        raise UsageError(f"--as {wanted} is not known", hint=f"there are {', '.join(FORMS)}")
    if wanted is None and name is not None:
        wanted = _ENDINGS.get(PurePath(name).suffix.lower())
    return RAW if wanted == "jsonl" else wanted or default


@dataclass(slots=True)
class Export:
    """One export: a form, whether the fields of JSON answers are columns, whether CSV is kept from being formulas.

    `columns` is the job's file of rows (`job_folder.columns_of`). `note` and `write` are for `jobs/collect`.
    Raises MissingExtraError where Parquet is asked for without DuckDB.
    """

    form: str
    fields: bool = False
    safe: bool = True
    columns: Path | None = None
    _spool: BinaryIO = field(init=False)
    _rows: Iterator[dict[str, Any]] = field(init=False)
    _asked: dict[str, Any] = field(default_factory=dict, init=False)
    _input: _Names = field(init=False)
    _answer: _Names = field(init=False)
    _result: _Names = field(init=False)

    def __post_init__(self) -> None:
        """Look for what the form needs, before anything is paid or fetched."""
        if self.form == "parquet":
            load_duckdb()
        self._input, self._answer = _Names(), _Names()
        self._result = _Names(dict.fromkeys(("custom_id", *RESULT_COLUMNS)) | _FIXED)

    def note(self, _row: int, custom_id: str, cause: str | None) -> None:
        """Hear what became of the next request; its line comes to `write` then, unless it is missing."""
        self._asked = next(self._rows, {})
        if cause is MISSING:
            self._keep(custom_id, MISSING_ROW)

    def write(self, lines: Iterable[bytes], out: BinaryIO) -> None:
        """Write result lines, and what is missing between them, to `out`. Raises BatchError."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(workspace())
            self._rows = iter(())
            if self.columns is not None:
                self._rows = read_rows(stack.enter_context(self.columns.open("rb")))
            self._spool = stack.enter_context((folder / "spool").open("w+b"))
            for line in lines:
                self._keep(*flat(line))
            if self._spool.tell():
                self._publish(folder, out)

    def _keep(self, custom_id: str, result: tuple[Any, ...]) -> None:
        """Spool a row, and take note of its columns and their types."""
        asked, self._asked = self._asked, {}
        answer = result[0] if self.fields else None
        fields = _fields(answer) if isinstance(answer, str) else {}
        whole = (custom_id, *result)
        self._input.see(asked)
        self._answer.see(fields)
        self._result.see(dict(zip(self._result.types, whole, strict=True)))
        if len(self._input.types) + len(self._answer.types) > MAX_COLUMNS:
            raise BatchError(
                f"the results have more than {MAX_COLUMNS:,} columns",
                hint="leave --fields out, or take the provider's own lines with --as raw",
            )
        self._spool.write(msgspec.json.encode((asked, fields, whole)) + b"\n")

    def _publish(self, folder: Path, out: BinaryIO) -> None:
        names = self._named()
        if self.form == "csv":
            write_csv(names, self._read(), out, safe=self.safe)
        elif self.form == "parquet":
            id_type, *rest = self._result.kinds()
            types = [id_type, *self._input.kinds(), *self._answer.kinds(), *rest]
            parquet_file.write_parquet(names, types, self._read(), folder, out)
        else:
            for row in self._read():
                out.write(msgspec.json.encode(dict(zip(names, row, strict=True))) + b"\n")

    def _named(self) -> list[str]:
        """Return the heading of each column. Where names meet, the result's stands, and others say whose they are."""
        own = list(self._result.types)
        taken = {name.casefold() for name in own}
        headings = [own[0]]
        for whose, names in (("input", self._input.types), ("answer", self._answer.types)):
            for name in names:
                heading, number = name, 1
                while not heading or heading.casefold() in taken:
                    heading = f"{whose}_{name}" if number == 1 else f"{whose}_{name}_{number}"
                    number += 1
                taken.add(heading.casefold())
                headings.append(heading)
        return headings + own[1:]

    def _read(self) -> Iterator[list[Any]]:
        """Yield the spooled rows, each with every column."""
        self._spool.seek(0)
        decode = msgspec.json.Decoder(tuple[dict[str, Any], dict[str, Any], list[Any]]).decode
        for line in self._spool:
            asked, fields, (custom_id, *result) = decode(line)
            yield [
                custom_id,
                *map(asked.get, self._input.types),
                *map(fields.get, self._answer.types),
                *result,
            ]


@dataclass(slots=True)
class _Names:
    """The columns seen so far, in order of appearance, and the type that holds their values."""

    types: dict[str, str | None] = field(default_factory=dict)

    def see(self, row: dict[str, Any]) -> None:
        """Take in a row."""
        for name, value in row.items():
            known = self.types.get(name)
            self.types[name] = (
                known if known == parquet_file.TEXT else parquet_file.joint(known, parquet_file.type_of(value))
            )

    def kinds(self) -> list[str]:
        """Return the types; a column without a value is text."""
        return [kind or parquet_file.TEXT for kind in self.types.values()]


def _fields(answer: str) -> dict[str, Any]:
    """Return the fields of an answer that is a JSON object; none of any other."""
    if not answer.lstrip().startswith("{"):
        return {}
    try:
        found = msgspec.json.decode(answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return {}
    return found if isinstance(found, dict) else {}
