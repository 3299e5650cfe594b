"""Read a stream of lines in blocks: many lines are read, and looked at, far faster together than one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES = 10_000_000
"""The longest line that is read whole; longer ones are a problem of their own and are skipped."""

BLOCK = 1 << 16
"""Bytes read at once. It is small, so that what is made of a block finds it in the processor's cache."""


def blocks(stream: BinaryIO, longest: int) -> Iterator[tuple[bytes, int]]:
    """Yield (a block of whole lines, 0) until the stream ends; the last line of all may lack its newline.

    Where a block's last line has more than `longest` bytes, its rest is passed over, and counted in place of the 0.
    """
    while block := stream.read(BLOCK):
        beyond = 0
        if not block.endswith(b"\n"):
            block += stream.readline(longest)
            while not block.endswith(b"\n") and (more := stream.readline(BLOCK)):
                beyond += len(more)
                if more.endswith(b"\n"):
                    break
        yield block, beyond


def pieces(block: bytes, beyond: int, longest: int) -> Iterator[tuple[int, bytes | int]]:
    r"""Yield (offset, line without its newline) of a block from `blocks`, split at `\n` alone.

    In place of a line of more than `longest` bytes stands its length, with its newline where it has one.
    """
    offset = 0
    *whole, last = block.split(b"\n")
    for line in whole:
        yield offset, line if len(line) <= longest else len(line) + 1
        offset += len(line) + 1
    if last:
        yield offset, last if len(last) <= longest else len(last) + beyond


_CHUNK = 1 << 16


def lines(stream: BinaryIO, longest: int = MAX_LINE_BYTES) -> Iterator[tuple[int, int, bytes | int]]:
    r"""Yield (1-based line, byte offset, line without its newline) of `stream`, split at `\n` alone.

    A line of more than `longest` bytes (by default MAX_LINE_BYTES) is passed over, and its length in bytes stands
    in its place.
    """
    number = offset = 0
    while raw := stream.readline(longest + 1):
        number += 1
        size = len(raw)
        if raw.endswith(b"\n"):
            yield number, offset, raw[:-1]
        elif size <= longest:
            yield number, offset, raw
        else:
            while more := stream.readline(_CHUNK):
                size += len(more)
                if more.endswith(b"\n"):
                    break
            yield number, offset, size
        offset += size
