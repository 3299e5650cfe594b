"""How a request ended: the five outcomes, and what they mean for a job."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """How a request ended."""

    SUCCESS = "success"
    """The answer is complete."""
    CUT = "cut"
    """The answer ends early, most often at the limit of tokens."""
    REFUSED = "refused"
    """The model or a filter refused."""
    ERROR = "error"
    """The request failed."""
    MISSING = "missing"
    """There is no result that can be read."""

    @property
    def answered(self) -> bool:
        """Whether the request has an answer; a part of one and a refusal count too."""
        return self in (Outcome.SUCCESS, Outcome.CUT, Outcome.REFUSED)

    @property
    def number(self) -> int:
        """Its place in the list, the best one first: of several results for a request, the best one is used."""
        return _NUMBERS[self]


OUTCOMES = tuple(Outcome)  # all outcomes, the best one first

_NUMBERS = {outcome: number for number, outcome in enumerate(OUTCOMES)}


class Verdict(NamedTuple):
    """How a request ended, in short."""

    outcome: Outcome  # how it ended
    cause: str = ""  # why it is not a success: a code, and a message after a colon. Empty for a success.
    retryable: bool = False  # whether sending it again can help


SUCCEEDED = Verdict(Outcome.SUCCESS)  # the verdict on a success

NO_RESULT = Verdict(Outcome.MISSING, "missing: no result", retryable=True)
"""The verdict on a request without any result."""
