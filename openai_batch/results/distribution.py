"""The distribution of numbers. Each number is rounded to three digits and counted, so it needs little memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_EXACT = 1000
_LARGEST = 1e18


@dataclass(slots=True)
class Distribution:
    """Counts numbers from 0 on. Quantiles are exact below 1,000 for whole numbers, else to three digits."""

    count: int = 0  # how many numbers there are
    total: float = 0  # their sum
    least: float = 0  # the smallest
    most: float = 0  # the largest
    _counts: Counter[float] = field(default_factory=Counter)

    def add(self, value: Any) -> None:
        """Count a number; other values that a server sends are ignored."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LARGEST:
            return
        self.least = min(self.least, value) if self.count else value
        self.most = max(self.most, value)
        self.count += 1
        self.total += value
        self._counts[value if value < _EXACT and isinstance(value, int) else float(f"{value:.3g}")] += 1

    def quantile(self, share: float) -> float:
        """Return the number that this share of all numbers does not exceed; 0 if there are none."""
        wanted, seen = share * self.count, 0
        for value in sorted(self._counts):
            seen += self._counts[value]
            if seen >= wanted:
                return min(max(value, self.least), self.most)
        return self.most

    def bars(self, most: int = 20) -> list[tuple[float, float, int]]:
        """Return at most `most` bars of a histogram: where each begins and ends, and how many numbers are in it.

        All are equally wide, but the last one includes the largest hundredth if those numbers are much larger.
        """
        if not self.count:
            return []
        width = _nice((self.quantile(0.99) - self.least) / most)
        start = math.floor(self.least / width) * width
        last = min(most, int((self.most - start) // width) + 1) - 1
        counts = Counter[int]()
        for value, number in self._counts.items():
            counts[max(0, min(last, int((value - start) // width)))] += number
        edges = [start + place * width for place in range(last + 1)]
        end = max(edges[-1] + width, self.most)
        return [
            (edge, after, counts[place])
            for place, (edge, after) in enumerate(zip(edges, [*edges[1:], end], strict=True))
        ]

    def record(self) -> dict[str, Any] | None:
        """Return its JSON record; None if there are no numbers."""
        if not self.count:
            return None
        return {
            "count": self.count,
            "total": self.total,
            "min": self.least,
            "mean": round(self.total / self.count, 2),
            "median": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "p99": self.quantile(0.99),
            "max": self.most,
            "bars": [list(bar) for bar in self.bars()],
        }


def _nice(width: float) -> int:
    """Return the next number of 1, 2, 5, 10, 20, 50, … that is not smaller."""
    step = 1
    while True:
        for digit in (1, 2, 5):
            if digit * step >= width:
                return digit * step
        step *= 10
