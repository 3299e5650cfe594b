"""Write rows as a Parquet file, by DuckDB, in row groups: memory holds one of them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from openai_batch.errors import BatchError
from openai_batch.inputs.sql import connected, load_duckdb

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_GROUP = 8192
_LONG = 1 << 63

TEXT = "VARCHAR"
WHOLE = "BIGINT"
NUMBER = "DOUBLE"


def type_of(value: Any) -> str | None:
    """Return the column type that holds a value; None for null, which any holds. What is nested is JSON text."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int):
        return WHOLE if -_LONG <= value < _LONG else TEXT
    if isinstance(value, float):
        return NUMBER
    if isinstance(value, list) and value and all(type(item) in (int, float) for item in value):
        return "DOUBLE[]"
    return TEXT


def joint(known: str | None, found: str | None) -> str | None:
    """Return the type that holds what two types hold."""
    if known == found or found is None:
        return known
    if known is None:
        return found
    return NUMBER if {known, found} == {WHOLE, NUMBER} else TEXT


def write_parquet(
    names: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]], folder: Path, out: BinaryIO
) -> None:
    """Write the rows to `out`, by way of files in `folder`. Raises BatchError, MissingExtraError."""
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
    kinds = ", ".join(f"{key}: '{kind}'" for key, kind in zip(keys, types, strict=True))
    # The names are quoted, the kinds are our own words, and the paths are values.
    query = (
        f"COPY (SELECT {shown} FROM read_json($source, format='newline_delimited', columns={{{kinds}}},"  # noqa: S608
        f" maximum_object_size={longest + 1})) TO '{_doubled(str(target))}' (FORMAT parquet, ROW_GROUP_SIZE {_GROUP})"
    )
    with connected(folder) as base:
        try:
            base.execute(query, {"source": str(source)})
        except duckdb.Error as exc:
            reason = str(exc).strip().partition("\n")[0]
            raise BatchError(
                f"the Parquet file cannot be written: {reason}", hint="--as rows writes JSON lines"
            ) from None
    source.unlink()
    with target.open("rb") as made:
        shutil.copyfileobj(made, out, 1 << 20)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _doubled(text: str) -> str:
    return text.replace("'", "''")
