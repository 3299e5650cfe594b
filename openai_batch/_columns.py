"""Keep the rows that requests were made of, so that results can be joined with what was asked.

One JSON object a row, in the order of the requests. Bytes are left out: a table of pictures would be kept twice.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from ._check import Problem
from ._rows import PROMPT, Block, Prompts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._rows import Piece, PlacedRow, Row, Rows
    from ._tables import Table


def noted(tables: Iterable[Table], out: BinaryIO) -> Iterator[Table]:
    """Yield the tables, and write each row to `out` as it is read."""
    for table in tables:
        rows = table.rows
        yield replace(table, rows=_NotedPrompts(rows, out) if isinstance(rows, Prompts) else _noted(rows, out))


class _NotedPrompts(Prompts):
    """Prompts that are written to `out` as they are read."""

    def __init__(self, prompts: Prompts, out: BinaryIO) -> None:
        self._prompts = prompts
        self._out = out

    def __iter__(self) -> Iterator[PlacedRow]:
        return _noted(self._prompts, self._out)

    def pieces(self, most: int | None = None) -> Iterator[Piece]:
        for piece in self._prompts.pieces(most):
            if isinstance(piece, Block):
                self._out.write(piece.between(b'{"%b":"' % PROMPT.encode(), b'"}\n'))
                yield piece
            else:
                yield list(_noted(piece, self._out))


def _noted(rows: Rows, out: BinaryIO) -> Iterator[PlacedRow]:
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
