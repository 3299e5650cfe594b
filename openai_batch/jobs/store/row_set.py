"""A set of row numbers. It needs one bit for each row, so it fits into memory for any input."""

from __future__ import annotations


class RowSet:
    """A set of row numbers, counted from 0."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, row: int) -> None:
        """Add a row."""
        if row >> 3 >= len(self._bits):
            self._bits.extend(bytes((row >> 3) + 1 - len(self._bits)))
        self._bits[row >> 3] |= 1 << (row & 7)

    def discard(self, row: int) -> None:
        """Remove a row if it is in the set."""
        if row in self:
            self._bits[row >> 3] &= ~(1 << (row & 7))

    def __contains__(self, row: int) -> bool:
        """Return whether a row is in the set."""
        return row >> 3 < len(self._bits) and bool(self._bits[row >> 3] >> (row & 7) & 1)
