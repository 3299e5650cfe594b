"""Count what became of a job's requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SAMPLES = 20
"""How many ids of missing requests are kept."""


@dataclass(slots=True)
class Tally:
    """How many requests a job has, and how each of them ended."""

    requests: int = 0
    """All requests."""
    succeeded: int = 0
    """Requests with a success."""
    failed: int = 0
    """Requests with an error."""
    missing_count: int = 0
    """Requests without any result."""
    missing: list[str] = field(default_factory=list)
    """The ids of the first SAMPLES requests without any result."""
    strangers: int = 0
    """Results whose id is not one of the job's."""
    repeats: int = 0
    """Further results of a request that already has one."""
    causes: Counter[str] = field(default_factory=Counter)
    """How many errors there are, by cause."""

    @property
    def complete(self) -> bool:
        """Whether every request has a success."""
        return self.succeeded == self.requests and self.requests > 0
