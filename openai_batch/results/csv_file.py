"""Lines of CSV. Cells that a spreadsheet would run as a formula are escaped: see `escape_formula`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FORMULA_STARTS = frozenset("=+-@\t\r")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CELL = re.compile(rb'("[^"]*(?:""[^"]*)*"|[^,\r]*)(?:,|\r\n)')


def escape_formula(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet would run as a formula. Other cells are unchanged."""
    return f"'{cell}" if cell[:1] in _FORMULA_STARTS and not _NUMBER.fullmatch(cell) else cell


def cell_text(value: Any) -> str:
    """Return the text of a cell: strings, dates and times as they are, anything else as JSON; empty for null."""
    if isinstance(value, str):
        return value
    text = msgspec.json.encode(value).decode()
    if text == "null":  # None, or a number that JSON does not have
        return ""
    return msgspec.json.decode(text, type=str) if text.startswith('"') else text


def csv_line(values: Iterable[Any], *, safe: bool = True) -> bytes:
    """Return values as a line of CSV (RFC 4180) in UTF-8. With `safe`, cells that would be formulas are escaped.

    The line is the one of Python's `csv.writer`, which takes twice as long.
    """
    cells = [
        "" if value is None else str(value) if type(value) is int else _cell(value, safe)  # quick for most cells
        for value in values
    ]
    return f"{','.join(cells)}\r\n".encode()


def _cell(value: Any, safe: bool) -> str:
    text = value if type(value) is str else cell_text(value)
    if safe and text[:1] in _FORMULA_STARTS:
        text = escape_formula(text)
    if '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return f'"{text}"' if "," in text or "\n" in text or "\r" in text else text


def csv_cells(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the cells of each row that `csv_line` wrote, in the form in which they stand there."""
    row: list[bytes] = []
    quotes = 0
    for line in lines:
        row.append(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:  # the row does not end within quotes
            yield _CELL.findall(b"".join(row))
            row.clear()
