"""Group the requests that did not succeed by their cause, in little memory."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .outcome import Outcome, Verdict

MOST = 500  # how many causes are distinguished; all later ones are one group
SAMPLES = 3  # how many ids each cause remembers

# The parts of messages that differ between requests: quoted texts, numbers, and ids such as req_8f3a2b1c.
_CHANGING = re.compile(r"""'[^']*'|"[^"]*"|\b(?=[\w-]*\d)[\w-]+""")


@dataclass(slots=True)
class Cause:
    """Requests that ended in the same way for the same cause."""

    outcome: Outcome  # how they ended
    cause: str  # why: the cause of the first of them, a code and a message
    count: int = 0  # how many there are
    retryable: bool = False  # whether sending them again can help
    samples: list[str] = field(default_factory=list)  # the ids of the first of them


@dataclass(slots=True)
class Causes:
    """The causes, each with its count. Those whose messages differ only in quoted texts, numbers and ids are one."""

    _groups: dict[tuple[Outcome, str], Cause] = field(default_factory=dict)

    def add(self, verdict: Verdict, custom_id: str | None) -> None:
        """Count a request that did not succeed."""
        code, _, message = verdict.cause.partition(": ")
        key = (verdict.outcome, f"{code}: {_CHANGING.sub('#', message)}")
        group = self._groups.get(key)
        if group is None:
            text = verdict.cause
            if len(self._groups) >= MOST:
                key, text = (verdict.outcome, ""), "other causes"
            group = self._groups.setdefault(key, Cause(verdict.outcome, text, retryable=verdict.retryable))
        group.count += 1
        if custom_id is not None and len(group.samples) < SAMPLES:
            group.samples.append(custom_id)

    def most_common(self, *outcomes: Outcome) -> list[Cause]:
        """Return the causes of these outcomes, the most common first; without outcomes, all causes."""
        found = [group for group in self._groups.values() if not outcomes or group.outcome in outcomes]
        return sorted(found, key=lambda group: -group.count)
