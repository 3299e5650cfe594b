"""Count how the requests of a job ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .causes import Causes
from .outcome import OUTCOMES, Outcome

if TYPE_CHECKING:
    from .outcome import Verdict

SAMPLES = 20  # how many ids of missing requests are remembered


@dataclass(slots=True)
class Tally:
    """How many requests a job has, and how each of them ended."""

    requests: int = 0
    """The number of all requests."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """The number of requests by outcome."""
    causes: Causes = field(default_factory=Causes)
    """Why requests did not succeed."""
    retryable: int = 0
    """The number of failed and missing requests that may succeed when they are sent again."""
    missing: list[str] = field(default_factory=list)
    """The ids of the first SAMPLES requests without any result."""
    reasons: Counter[Verdict] = field(default_factory=Counter)
    """The number of missing requests by verdict."""
    unknown_ids: int = 0
    """Results with an id that the job does not have."""
    repeats: int = 0
    """Results of a request that already had one."""
    short: list[str] = field(default_factory=list)
    """The files that were accepted with fewer bytes than are on record, each with both numbers."""
    unreadable_count: int = 0
    """Lines of the provider's files that are not results."""
    unreadable: list[str] = field(default_factory=list)
    """The first SAMPLES of these lines: the file, the number of the line, and why."""

    def count(self, verdict: Verdict, custom_id: str | None = None) -> None:
        """Count one request. `custom_id` is remembered if it is missing, or a sample of its cause."""
        self.requests += 1
        self.outcomes[verdict.outcome] += 1
        self.retryable += verdict.retryable
        if verdict.outcome is not Outcome.SUCCESS:
            self.causes.add(verdict, custom_id)
        if verdict.outcome is Outcome.MISSING:
            self.reasons[verdict] += 1
            if custom_id is not None and len(self.missing) < SAMPLES:
                self.missing.append(custom_id)

    def count_successes(self, count: int) -> None:
        """Count requests that succeeded."""
        self.requests += count
        self.outcomes[Outcome.SUCCESS] += count

    @property
    def answered(self) -> int:
        """Requests with an answer; a part of one and a refusal count too."""
        return sum(count for outcome, count in self.outcomes.items() if outcome.answered)

    @property
    def complete(self) -> bool:
        """Whether every request was answered."""
        return self.answered == self.requests > 0

    @property
    def succeeded(self) -> bool:
        """Whether every request succeeded."""
        return self.outcomes[Outcome.SUCCESS] == self.requests > 0

    def __str__(self) -> str:
        """Return a summary such as `20 of 20 answered: 17 succeeded, 2 refused, 1 cut`."""
        if self.succeeded:
            return f"{self.requests:,} of {self.requests:,} succeeded"
        ended = ", ".join(f"{self.outcomes[each]:,} {OUTCOME_WORDS[each]}" for each in OUTCOMES if self.outcomes[each])
        return f"{self.answered:,} of {self.requests:,} answered" + (f": {ended}" if ended else "")


OUTCOME_WORDS = {
    Outcome.SUCCESS: "succeeded",
    Outcome.CUT: "cut",
    Outcome.REFUSED: "refused",
    Outcome.ERROR: "failed",
    Outcome.MISSING: "missing",
}
"""The word for the requests that ended in each way."""
