"""Keep the rows that requests were made of, so that results can be joined with what was asked.

One JSON object a row, in the order of the requests. Bytes are left out: a table of pictures would be kept twice.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from ._check import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._rows import Row, Rows
    from ._tables import Table


def noted(tables: Iterable[Table], out: BinaryIO) -> Iterator[Table]:
    """Yield the tables, and write each row to `out` as it is read."""
    for table in tables:
        yield replace(table, rows=_noted(table.rows, out))


def _noted(rows: Rows, out: BinaryIO) -> Rows:
    for where, row in rows:
        if not isinstance(row, Problem):
            out.write(_encoded(row))
        yield where, row


def _encoded(row: Row) -> bytes:
    kept = {name: value for name, value in row.items() if not isinstance(value, bytes | bytearray | memoryview)}
    try:
        return msgspec.json.encode(kept, enc_hook=str) + b"\n"
    except (UnicodeEncodeError, OverflowError, TypeError, ValueError):
        # Half a surrogate pair, a number of more than 64 bits, bytes within a list: Python's own module takes them.
        return json.dumps(kept, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"


def read_rows(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield the rows that `noted` wrote."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for line in stream:
        yield decode(line)
