"""Cells of CSV: any value as text, and none that a spreadsheet runs as a formula."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def inert(cell: str) -> str:
    """Return a cell with an apostrophe before it if a spreadsheet would take it for a formula; numbers stay."""
    return f"'{cell}" if cell.startswith(_STARTS) and not _NUMBER.fullmatch(cell) else cell


def text(value: Any) -> str:
    """Return a value as the text of a cell: nothing for null, JSON for what is neither text nor number."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def write_csv(names: Sequence[str], rows: Iterable[Sequence[Any]], out: BinaryIO, *, safe: bool = True) -> None:
    """Write a header and rows as RFC 4180 has it, in UTF-8; `safe` says that no cell may be a formula."""

    def cell(value: Any) -> str:
        return inert(text(value)) if safe else text(value)

    handle = io.TextIOWrapper(out, encoding="utf-8", newline="")
    try:
        writer = csv.writer(handle)
        writer.writerow([cell(name) for name in names])
        writer.writerows([cell(value) for value in row] for row in rows)
    finally:
        handle.detach()
