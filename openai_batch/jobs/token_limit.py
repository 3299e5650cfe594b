"""The provider's limit of enqueued tokens: parts that fit are sent, the others wait until a batch of ours has ended.

The limit is in the profile, or is learned from the provider's refusals. If a refusal names no limit, the number of
tokens that were running is used as a guess: parts wait for a while because of it, but none is cut. Providers count
the tokens of the prompts. Here each `BYTES_PER_TOKEN` bytes of the file count as one token.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openai_batch.errors import ApiError
from openai_batch.net.time_limit import is_over

from .store import job_folder
from .store.records import UNSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.provider import Provider

    from .store.records import JobRecord, PartRecord
    from .store.registry import Registry

BYTES_PER_TOKEN = 4  # a rough value for English text. For a file of requests it is usually too high.

REFUSAL_PAUSE, MAX_REFUSAL_PAUSE = 60.0, 3600.0
"""Seconds until a refused part is tried again if no batch of ours explains the refusal; doubled each time."""

NAMED_FOR, GUESSED_FOR = 7 * 86400.0, 3600.0
"""Seconds for which a named and a guessed limit are used. A named one ends too, since limits of accounts grow."""

_CODE = "token_limit_exceeded"
_REFUSAL = re.compile(r"enqueued token limit|token_limit_exceeded", re.IGNORECASE)
_LIMIT = re.compile(r"limit\s*(?::|=|of|is)?\s*(\d[\d,_ ]*)(\.\d+)?\s*([km]?)\b", re.IGNORECASE)
_UNITS = {"k": 1e3, "m": 1e6}


@dataclass(frozen=True, slots=True)
class EnqueuedTokens:
    """How many tokens the running batches of one model may have at one provider, as far as is known."""

    registry: Registry  # where learned limits and running batches are recorded
    provider: Provider  # the provider that has the limit
    # When the pause after each refusal began, by `time.monotonic`: by job, part, and time of the attempt.
    pauses: dict[tuple[int, int, float], float] = field(default_factory=dict)

    def is_limited(self, job: JobRecord) -> bool:
        """Return whether a limit is known for the job's model, or a part of the job was refused for one."""
        guess = self.registry.limit(job.account, job.model, time.time() - GUESSED_FOR, named=False)
        return bool(guess or self.limit(job)) or any(part.queued or part.refusals for part in job.parts if part.unsent)

    def with_room(self, job: JobRecord, parts: Iterable[PartRecord]) -> Iterator[PartRecord]:
        """Yield the parts that may be sent now. The first one without room is marked; the later ones wait for it."""
        for part in parts:
            if is_over():
                return
            if part.state in UNSENT and not self.has_room(job, part):
                if not part.queued:
                    self.registry.set_part(part, queued=True, last_error=None)
                return
            yield part

    def has_room(self, job: JobRecord, part: PartRecord, now: float | None = None) -> bool:
        """Return whether a part may be sent at `now` (Unix seconds). A part that is over the limit is sent alone."""
        now = now or time.time()
        running = self._running(job, now)
        if not running:
            if not part.refusals:
                return True
            return self._pause_is_over(part, now)
        guess = self.registry.limit(job.account, job.model, now - GUESSED_FOR, named=False)
        return all(limit is None or running + tokens(part) <= limit for limit in (self.limit(job), guess))

    def learn(self, job: JobRecord, part: PartRecord, message: str) -> bool:
        """Store the limit that a refusal's message names; if it does not explain the refusal, store a guess.

        The guess is the number of tokens of our running batches. It may be too low if others use the same limit.
        Returns whether batches of ours were running when the part was tried: then there is room when they end.
        """
        named = named_limit(message)
        if named:
            self.registry.set_limit(job.account, job.model, named, named=True)
        running, limit = self._running(job, time.time()), self.limit(job)
        if running and (limit is None or running + tokens(part) <= limit):
            self.registry.set_limit(job.account, job.model, running, named=False)
        return self.registry.ran_since(job.account, job.model, part.attempted_at or 0.0)

    def room_in_bytes(self, job: JobRecord, part: PartRecord) -> int | None:
        """Return how many bytes each part may have if this one is over the limit and must be cut; else None."""
        limit = self.limit(job)
        return limit * BYTES_PER_TOKEN if limit and tokens(part) > limit and part.requests > 1 else None

    def split_large_parts(self, job: JobRecord, note: Callable[[str], None]) -> JobRecord:
        """Split the unsent parts of a job that are larger than the queue, and return the job; `note` says which."""
        for part in job.parts:
            room = self.room_in_bytes(job, part) if part.state in UNSENT and not part.direct else None
            if room is not None and part.sha256 is not None:
                smaller = job_folder.cut_part(self.registry.job(job.id), part, room)
                self.registry.cut(part, smaller)
                note(
                    f"job {job.id}: part {part.number} is larger than {self.provider}'s queue, and is sent in"
                    f" {len(smaller)} parts"
                )
        return self.registry.job(job.id)

    def limit(self, job: JobRecord) -> int | None:
        """Return the limit in tokens that the profile or the provider has named, or None."""
        named = self.registry.limit(job.account, job.model, time.time() - NAMED_FOR, named=True)
        return min((limit for limit in (self.provider.enqueued_tokens, named) if limit), default=None)

    def _pause_is_over(self, part: PartRecord, now: float) -> bool:
        """Return whether a refused part may be tried again. Others use the limit too, at unknown times."""
        pause = min(MAX_REFUSAL_PAUSE, REFUSAL_PAUSE * 2.0 ** min(part.refusals - 1, 10))
        attempt = part.attempted_at or 0.0
        # Another process may have made the attempt, so the wall clock shows how long ago that was. From then on the
        # monotonic clock counts, since the wall clock may be changed in the meantime.
        begun = time.monotonic() - min(pause, max(0.0, now - attempt))
        return time.monotonic() >= self.pauses.setdefault((part.job, part.number, attempt), begun) + pause

    def _running(self, job: JobRecord, now: float) -> int:
        return sum(part.length for part in self.registry.running(job.account, job.model, now)) // BYTES_PER_TOKEN


def named_limit(message: str) -> int | None:
    """Return the limit in tokens that a message names, such as "Limit: 90,000" or "limit of 2M", or None."""
    match = _LIMIT.search(message)
    if match is None:
        return None
    whole, fraction, unit = re.sub(r"\D", "", match[1]), match[2] or "", match[3].lower()
    # Without a unit, a point separates thousands.
    return int(float(whole + fraction) * _UNITS[unit]) if unit else int(whole + fraction[1:])


def tokens(part: PartRecord) -> int:
    """Return about how many tokens a part's prompts have."""
    return part.length // BYTES_PER_TOKEN


def is_refusal(exc: Exception) -> bool:
    """Return whether an error says that the limit is reached. Then no batch was created."""
    return isinstance(exc, ApiError) and (exc.api_code == _CODE or _REFUSAL.search(str(exc)) is not None)


def was_refused(info: BatchInfo) -> str | None:
    """Return the provider's message if it failed the batch because the limit was reached, else None."""
    if info.status != "failed" or info.counts.done:
        return None
    return next((f.message for f in info.errors if f.code == _CODE or _REFUSAL.search(f.message)), None)
