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
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_GROUP = 8192
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


def write_parquet(
    names: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]], folder: Path, out: BinaryIO
) -> None:
    """Write the rows to `out`, with temporary files in `folder`. Raises BatchError, MissingExtraError."""
    duckdb = load_duckdb()
    source, target = folder / "rows.json", folder / "rows.parquet"
    keys = [f"c{number}" for number in range(len(names))]
    longest = 1 << 20
    with source.open("wb") as handle:
        for row in rows:
            line = msgspec.json.encode(dict(zip(keys, row, strict=True))) + b"\n"
            longest = max(longest, len(line))
            handle.write(line)
    shown = ", ".join(f"{key} AS {_quoted(name)}" for key, name in zip(keys, names, strict=True))
    typed = ", ".join(f"{key}: '{kind}'" for key, kind in zip(keys, types, strict=True))
    # This is safe SQL: the names are quoted, the types are constants, and the paths are values or quoted.
    query = (
        f"COPY (SELECT {shown} FROM read_json($source, format='newline_delimited', columns={{{typed}}},"  # noqa: S608
        f" maximum_object_size={longest + 1})) TO '{_doubled(str(target))}' (FORMAT parquet, ROW_GROUP_SIZE {_GROUP})"
    )
    with connected(folder) as base, interruptible(base) as run:
        try:
            run(base.execute, query, {"source": str(source)})
        except duckdb.Error as exc:
            reason = str(exc).strip().partition("\n")[0]
            raise BatchError(
                f"the Parquet file cannot be written: {reason}", hint="--as rows writes JSON lines"
            ) from None
    source.unlink()
    with target.open("rb") as written:
        shutil.copyfileobj(written, out, 1 << 20)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _doubled(text: str) -> str:
    return text.replace("'", "''")
