"""Write rows as a Parquet file with DuckDB, in groups of rows; only one group is in memory."""

from __future__ import annotations

import functools
import shutil
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from openai_batch.errors import BatchError
from openai_batch.inputs.sql import connected, interruptible, load_duckdb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GROUP = 8192
_FILE = 1 << 22
_LONG = 1 << 63

TEXT = "VARCHAR"
INTEGER = "BIGINT"
LONG = "LONG"  # DuckDB's other name of BIGINT; here, the type of whole numbers that a DOUBLE cannot hold exactly
NUMBER = "DOUBLE"
_EXACT = 1 << 53


def type_of(value: Any) -> str | None:
    """Return the column type for a value; None for None, which fits any type.

    A list of values of one type is a list. Other nested values are JSON text.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int):
        return TEXT if not -_LONG <= value < _LONG else INTEGER if -_EXACT <= value <= _EXACT else LONG
    if isinstance(value, float):
        return NUMBER
    if isinstance(value, date):
        return "DATE" if not isinstance(value, datetime) else "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
    if isinstance(value, list) and value:
        if set(map(type, value)) == {float}:
            return f"{NUMBER}[]"  # a vector
        kinds = set(map(type_of, value))
        if kinds == {TEXT}:
            return f"{TEXT}[]" if all(isinstance(item, str) for item in value) else TEXT
        inner = functools.reduce(common_type, kinds)
        return f"{inner}[]" if inner is not None and inner != TEXT else TEXT
    return TEXT


def common_type(first: str | None, second: str | None) -> str | None:
    """Return the column type that fits the values of both types exactly; None stands for no value yet."""
    if first == second or second is None:
        return first
    if first is None:
        return second
    if first.endswith("[]") and second.endswith("[]"):
        inner = common_type(first[:-2], second[:-2])
        return TEXT if inner == TEXT else f"{inner}[]"
    kinds = {first, second}
    return NUMBER if kinds == {INTEGER, NUMBER} else LONG if kinds == {INTEGER, LONG} else TEXT


class ParquetRows:
    """The rows of a Parquet file, which `write` makes of them. Until then, they are files of JSON lines.

    These files are small: DuckDB keeps the file that it reads in memory, up to 32 MB of it.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the files in `folder`."""
        self._folder = folder
        self._paths: list[Path] = []
        self._file: BinaryIO | None = None
        self._size = 0  # the bytes in the last file
        self._longest = 1 << 20  # the bytes of the longest row, or more

    def add(self, row: dict[str, Any]) -> None:
        """Add a row. Its keys are parts of an SQL statement."""
        line = msgspec.json.encode(row) + b"\n"
        if self._file is None or self._size >= _FILE:
            self.close()
            self._paths.append(self._folder / f"rows-{len(self._paths)}.json")
            self._file, self._size = self._paths[-1].open("wb"), 0
        self._file.write(line)
        self._size += len(line)
        self._longest = max(self._longest, len(line))

    def close(self) -> None:
        """Close the last file."""
        if self._file is not None:
            self._file.close()

    def write(self, columns: Mapping[str, tuple[str, str]], out: BinaryIO) -> None:
        """Write the rows to `out`; `columns` are the name and the type of the column for each key. Raises BatchError.

        A key that is missing in a row is null.
        """
        self.close()
        duckdb = load_duckdb()
        target = self._folder / "rows.parquet"
        shown = ", ".join(f"{key} AS {_quoted(name)}" for key, (name, _) in columns.items())
        typed = ", ".join(f"{key}: '{kind}'" for key, (_, kind) in columns.items())
        # This is safe SQL: keys and types are constants, the names are quoted, and the paths are values or quoted.
        query = (
            f"COPY (SELECT {shown} FROM read_json($source, format='newline_delimited', columns={{{typed}}},"  # noqa: S608
            f" maximum_object_size={self._longest + 1}))"
            f" TO '{_doubled(str(target))}' (FORMAT parquet, ROW_GROUP_SIZE {_GROUP})"
        )
        with connected(self._folder) as base, interruptible(base) as run:
            try:
                run(base.execute, query, {"source": list(map(str, self._paths))})
            except duckdb.Error as exc:
                reason = str(exc).strip().partition("\n")[0]
                raise BatchError(
                    f"the Parquet file cannot be written: {reason}", hint="--as rows writes JSON lines"
                ) from None
        for path in self._paths:
            path.unlink()
        with target.open("rb") as written:
            shutil.copyfileobj(written, out, 1 << 20)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _doubled(text: str) -> str:
    return text.replace("'", "''")
