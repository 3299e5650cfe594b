"""Count how the requests of a job ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SAMPLES = 20
"""How many ids of missing requests are remembered."""


@dataclass(slots=True)
class Tally:
    """How many requests a job has, and how each of them ended."""

    requests: int = 0
    """The number of all requests."""
    succeeded: int = 0
    """Requests that succeeded."""
    failed: int = 0
    """Requests that failed."""
    missing_count: int = 0
    """Requests without any result."""
    missing: list[str] = field(default_factory=list)
    """The ids of the first SAMPLES requests without any result."""
    unknown_ids: int = 0
    """Results with an id that the job does not have."""
    repeats: int = 0
    """Results of a request that already had one."""
    causes: Counter[str] = field(default_factory=Counter)
    """The number of failed requests by cause."""

    @property
    def complete(self) -> bool:
        """Whether every request succeeded."""
        return self.succeeded == self.requests and self.requests > 0
