"""Keep the rows that requests are made from, so that results can be joined with them later.

Each row is one line of JSON, in the order of the requests. Cells of bytes are left out: images would be kept twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .readers import Row


def encoded_row(row: Row) -> bytes:
    """Return the line of a row."""
    kept = {name: value for name, value in row.items() if not isinstance(value, bytes | bytearray | memoryview)}
    try:
        return msgspec.json.encode(kept, enc_hook=str) + b"\n"
    except (UnicodeEncodeError, OverflowError, TypeError, ValueError):
        # Python's own module accepts half of a surrogate pair, integers of more than 64 bits, and bytes in a list.
        return json.dumps(kept, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"


def read_rows(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield the rows of these lines."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for line in stream:
        yield decode(line)
