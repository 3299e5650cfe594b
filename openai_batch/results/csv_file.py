"""Write CSV. Cells that a spreadsheet would run as a formula are escaped: see `escape_formula`."""

from __future__ import annotations

import csv
import re
from types import SimpleNamespace
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
    risky = frozenset(_FORMULA_STARTS if safe else ())

    def cell(value: Any) -> str:
        return escape_formula(cell_text(value)) if safe else cell_text(value)

    def cells(row: Sequence[Any]) -> list[Any]:
        return [
            value  # as `csv` writes it; nearly all cells are such
            if value is None or type(value) is int or (type(value) is str and value[:1] not in risky)
            else cell(value)
            for value in row
        ]

    writer = csv.writer(SimpleNamespace(write=lambda text: out.write(text.encode())))
    writer.writerow(cells(names))
    writer.writerows(map(cells, rows))
