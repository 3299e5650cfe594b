"""Read lines of limited length, one by one, or in blocks: a block of lines is read and checked much faster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES = 10_000_000
"""The longest line that is read, in bytes without its newline. Longer ones are skipped, and are a problem."""

LINE_VARIABLE = "OBATCH_MAX_LINE_BYTES"  # the environment variable that sets another length

_SMALLEST, _LARGEST = 1000, 1 << 30

BLOCK = 1 << 16  # bytes read at once. It is small, so that a block stays in the processor's cache while it is checked.


def max_line_bytes() -> int:
    """Return the length of the longest line that is read. Raises UsageError if the variable for it is not a length."""
    given = os.environ.get(LINE_VARIABLE, "").replace("_", "")
    if not given:
        return MAX_LINE_BYTES
    if not given.isascii() or not given.isdigit() or not _SMALLEST <= int(given[:20]) <= _LARGEST:
        raise UsageError(
            f"{LINE_VARIABLE} is not a number of bytes", hint=f"give a number from {_SMALLEST} to {_LARGEST}"
        )
    return int(given)


def blocks(stream: BinaryIO, longest: int) -> Iterator[tuple[bytes, int]]:
    """Yield blocks of whole lines as (block, skipped). Only the last line of the stream may have no newline.

    If the last line of a block has more than `longest` bytes, its rest is skipped: `skipped` is the number of bytes of
    that rest, and 0 for all other blocks.
    """
    while block := stream.read(BLOCK):
        skipped = 0
        if not block.endswith(b"\n"):
            block += stream.readline(longest)
            while not block.endswith(b"\n") and (more := stream.readline(BLOCK)):
                skipped += len(more)
                if more.endswith(b"\n"):
                    break
        yield block, skipped


def lines_of_block(block: bytes, skipped: int, longest: int) -> Iterator[tuple[int, bytes | int]]:
    r"""Yield (offset in the block, line without its newline) for each line of a block of `blocks`, split at `\n` only.

    Instead of a line of more than `longest` bytes, yield its length in bytes, counting its newline if it has one.
    """
    offset = 0
    *whole, last = block.split(b"\n")
    for line in whole:
        yield offset, line if len(line) <= longest else len(line) + 1
        offset += len(line) + 1
    if last:
        yield offset, last if len(last) <= longest else len(last) + skipped


def lines(stream: BinaryIO, longest: int | None = None) -> Iterator[tuple[int, int, bytes | int]]:
    r"""Yield (number from 1, byte offset, line without its newline) for each line of `stream`, split at `\n` only.

    Instead of a line of more than `longest` bytes (None: `max_line_bytes`), yield its length in bytes, counting its
    newline if it has one.
    """
    longest = longest or max_line_bytes()
    number = offset = 0
    while raw := stream.readline(longest + 1):
        number += 1
        size = len(raw)
        if raw.endswith(b"\n"):
            yield number, offset, raw[:-1]
        elif size <= longest:
            yield number, offset, raw
        else:
            while more := stream.readline(BLOCK):
                size += len(more)
                if more.endswith(b"\n"):
                    break
            yield number, offset, size
        offset += size
