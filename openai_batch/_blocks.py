"""Read a stream of lines in blocks: many lines are read, and looked at, far faster together than one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

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
