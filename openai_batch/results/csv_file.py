"""Write CSV. Cells that a spreadsheet would run as a formula are escaped: see `escape_formula`."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def escape_formula(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet would run as a formula. Other cells are unchanged."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(cell) else cell


def cell_text(value: Any) -> str:
    """Return the text of a cell: empty for None, strings unchanged, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def write_csv(names: Sequence[str], rows: Iterable[Sequence[Any]], out: BinaryIO, *, safe: bool = True) -> None:
    """Write a header and rows as CSV (RFC 4180) in UTF-8. With `safe`, cells that would be formulas are escaped."""

    def cell(value: Any) -> Any:
        if (
            value is None
            or type(value) is int
            or (type(value) is str and not (safe and value.startswith(_FORMULA_STARTS)))
        ):
            return value  # as `csv` writes it; nearly all cells are such
        return escape_formula(cell_text(value)) if safe else cell_text(value)

    handle = io.TextIOWrapper(out, encoding="utf-8", newline="")
    try:
        writer = csv.writer(handle)
        writer.writerow([cell(name) for name in names])
        writer.writerows([cell(value) for value in row] for row in rows)
    finally:
        handle.detach()
