"""The provider's limit of enqueued tokens: what fits is sent, the rest waits until something of ours has ended.

The limit stands in the profile, or is learned from the provider's own words when it refuses. Providers count the tokens
of the prompts; here a token is taken for `BYTES_PER_TOKEN` bytes of the file, which counts the JSON around them too.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import ApiError

if TYPE_CHECKING:
    from ._batchinfo import BatchInfo
    from ._jobs import Job, Part
    from ._profile import Provider
    from ._registry import Registry

BYTES_PER_TOKEN = 4
"""A rule of thumb for English text, on the safe side for a file of requests."""

REFUSAL_PAUSE, MAX_REFUSAL_PAUSE = 60.0, 3600.0
"""Seconds to leave a refused part alone where nothing of ours explains the refusal; doubled each time."""

_CODE = "token_limit_exceeded"
_WORDS = re.compile(r"enqueued token limit|token_limit_exceeded", re.IGNORECASE)
_LIMIT = re.compile(r"limit:?\s*([\d,_ ]*\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Queue:
    """What one provider lets one model's batches hold at a time, as far as it is known."""

    registry: Registry
    provider: Provider

    def has_room(self, job: Job, part: Part, now: float | None = None) -> bool:
        """Tell whether a part may be sent now. A request too large for the limit by itself is sent alone."""
        running = self.registry.running_bytes(job.base_url, job.model) // BYTES_PER_TOKEN
        if part.refusals and not running:  # somebody else fills the queue, and nothing tells when that ends
            pause = min(MAX_REFUSAL_PAUSE, REFUSAL_PAUSE * 2.0 ** (part.refusals - 1))
            return (now or time.time()) >= (part.attempted_at or 0.0) + pause
        limit = self.limit(job)
        return limit is None or not running or running + tokens(part) <= limit

    def learn(self, job: Job, part: Part, words: str) -> bool:
        """Remember the limit that a refusal names; where it names none, what runs now is as much as fits.

        Tells whether batches of ours filled the queue when the part was tried: then their end makes room.
        """
        match = _LIMIT.search(words)
        running = self.registry.running_bytes(job.base_url, job.model) // BYTES_PER_TOKEN
        limit = int(re.sub(r"\D", "", match[1])) if match else running
        if limit:
            self.registry.set_limit(job.base_url, job.model, limit)
        return self.registry.ran_since(job.base_url, job.model, part.attempted_at or 0.0)

    def room_in_bytes(self, job: Job, part: Part) -> int | None:
        """Return how many bytes a part may have, if it must be cut because the limit is below it; else None."""
        limit = self.limit(job)
        return limit * BYTES_PER_TOKEN if limit and tokens(part) > limit and part.requests > 1 else None

    def limit(self, job: Job) -> int | None:
        """Return the limit in tokens as far as it is known."""
        known = (self.provider.enqueued_tokens, self.registry.limit(job.base_url, job.model))
        return min((limit for limit in known if limit), default=None)


def tokens(part: Part) -> int:
    """Return about how many tokens a part's prompts have."""
    return part.length // BYTES_PER_TOKEN


def is_refusal(exc: Exception) -> bool:
    """Tell whether an error says that the queue is full: nothing was created then."""
    return isinstance(exc, ApiError) and (exc.api_code == _CODE or _WORDS.search(str(exc)) is not None)


def was_refused(info: BatchInfo) -> str | None:
    """Return the provider's words if it failed the batch because the queue was full, else None."""
    if info.status != "failed" or info.counts.done:
        return None
    return next((f.message for f in info.errors if f.code == _CODE or _WORDS.search(f.message)), None)
