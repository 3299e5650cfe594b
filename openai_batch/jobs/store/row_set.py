"""A set of row numbers that needs one bit a row, so that it fits into memory for any input."""

from __future__ import annotations


class RowSet:
    """Row numbers, from 0 on."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, row: int) -> None:
        """Add a row."""
        if row >> 3 >= len(self._bits):
            self._bits.extend(bytes((row >> 3) + 1 - len(self._bits)))
        self._bits[row >> 3] |= 1 << (row & 7)

    def discard(self, row: int) -> None:
        """Remove a row if it is there."""
        if row in self:
            self._bits[row >> 3] &= ~(1 << (row & 7))

    def __contains__(self, row: int) -> bool:
        """Tell whether a row is there."""
        return row >> 3 < len(self._bits) and bool(self._bits[row >> 3] >> (row & 7) & 1)
