"""A set of row numbers. It needs one bit for each row, so it fits into memory for any input."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_FULL, _NOT_EMPTY = re.compile(rb"[^\xff]"), re.compile(rb"[^\0]")


class RowSet:
    """A set of row numbers, counted from 0."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, row: int, count: int = 1) -> None:
        """Add `count` rows from `row` on."""
        end = row + count
        if end > len(self._bits) << 3:
            self._bits.extend(bytes((end + 7 >> 3) - len(self._bits)))
        first, last = row + 7 >> 3, end >> 3  # the bytes of which all rows are added
        if first < last:
            self._bits[first:last] = b"\xff" * (last - first)
            others = chain(range(row, first << 3), range(last << 3, end))
        else:
            others = chain(range(row, end))
        for each in others:
            self._bits[each >> 3] |= 1 << (each & 7)

    def discard(self, row: int) -> None:
        """Remove a row if it is in the set."""
        if row in self:
            self._bits[row >> 3] &= ~(1 << (row & 7))

    def __contains__(self, row: int) -> bool:
        """Return whether a row is in the set."""
        return row >> 3 < len(self._bits) and bool(self._bits[row >> 3] >> (row & 7) & 1)

    def __len__(self) -> int:
        """Return how many rows are in the set."""
        return int.from_bytes(self._bits, "little").bit_count()

    def lacking(self, row: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield (first row, count) for each range of those of `count` rows from `row` on that are not in the set."""
        end = row + count
        while (first := self._first(row, end, inside=False)) < end:
            row = self._first(first, end, inside=True)
            yield first, row - first

    def _first(self, row: int, end: int, *, inside: bool) -> int:
        """Return the first row from `row` on that is in the set, or is not; `end` if there is none before it."""
        while row < end and (row in self) != inside:
            row += 1
            if row & 7 == 0 and row < end:  # skip the bytes that have no such row
                found = (_NOT_EMPTY if inside else _NOT_FULL).search(self._bits, row >> 3)
                row = found.start() << 3 if found else end if inside else max(row, len(self._bits) << 3)
        return min(row, end)
