"""A set of row numbers. It needs one byte for each row, so it fits into memory for any input."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class RowSet:
    """A set of row numbers, counted from 0."""

    def __init__(self) -> None:
        self._rows = bytearray()  # 1 for each row that is in the set, otherwise 0

    def add(self, row: int, count: int = 1) -> None:
        """Add `count` rows from `row` on."""
        end = row + count
        if end > len(self._rows):
            self._rows.extend(bytes(end - len(self._rows)))
        self._rows[row:end] = b"\1" * count

    def discard(self, row: int) -> None:
        """Remove a row if it is in the set."""
        if row in self:
            self._rows[row] = 0

    def __contains__(self, row: int) -> bool:
        """Return whether a row is in the set."""
        return row < len(self._rows) and bool(self._rows[row])

    def __len__(self) -> int:
        """Return how many rows are in the set."""
        return self._rows.count(1)

    def lacking(self, row: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield (first row, count) for each range of those of `count` rows from `row` on that are not in the set."""
        end = row + count
        while row < end:
            stop = self._rows.find(1, row, end)
            if stop < 0:
                yield row, end - row
                return
            if stop > row:
                yield row, stop - row
            row = self._rows.find(0, stop, end)
            if row < 0:
                row = min(end, len(self._rows))
