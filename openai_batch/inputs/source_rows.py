"""Keep the rows that requests are made from, so that results can be joined with them later.

Each row is one line of JSON, in the order of the requests. Cells of bytes are left out: images would be kept twice.
"""

from __future__ import annotations

import contextlib
import json
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .readers import Row


_TIME = "obatch:time"  # the key of a date or a time, which JSON does not have
_DATE_LENGTH = len("2026-01-31")


def encoded_row(row: Row) -> bytes:
    """Return the line of a row."""
    kept = {
        name: {_TIME: value.isoformat()} if isinstance(value, date) else value
        for name, value in row.items()
        if not isinstance(value, bytes | bytearray | memoryview)
    }
    try:
        return msgspec.json.encode(kept, enc_hook=str) + b"\n"
    except (UnicodeEncodeError, OverflowError, TypeError, ValueError):
        # Python's own module accepts a lone surrogate, integers of more than 64 bits, and bytes in a list.
        return json.dumps(kept, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"


def read_rows(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield the rows of these lines."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for line in stream:
        row = decode(line)
        for name, value in row.items() if _TIME.encode() in line else ():
            if isinstance(value, dict) and isinstance(text := value.get(_TIME), str):
                with contextlib.suppress(ValueError):  # the table itself has such a key
                    row[name] = (date if len(text) == _DATE_LENGTH else datetime).fromisoformat(text)
        yield row


def row_text(row: dict[str, Any]) -> str:
    """Return a short text for a row: its prompt, its only cell, or the whole row."""
    value = next((row[name] for name in ("prompt", "text") if row.get(name)), None)
    if value is None:
        value = next(iter(row.values()), "") if len(row) == 1 else row
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
