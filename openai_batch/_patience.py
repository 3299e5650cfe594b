"""How long to wait after an error while waiting for a batch, and when to stop believing that it passes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .errors import ApiError, BatchError

if TYPE_CHECKING:
    from ._report import Reporter

MAX_POLL = 60.0
MAX_RETRY_AFTER = 3600.0
"""Seconds: the longest wait between two looks at a provider, and where a server asks for a longer one."""

MAX_REFUSALS = 3
"""Refused keys, or batches not found, in a row before that is believed."""

REFUSED_FOR = 3600.0
"""Seconds that the same is not believed of a provider that has shown the batch before: a key may be renewed."""


class Failures:
    """How often in a row asking has failed, and how long to wait after that; what does not pass is raised."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._row = 0
        self._refusals = 0
        self._refused_since = 0.0
        self._answered = False

    def forget(self) -> None:
        """Begin anew after an answer."""
        self._row = self._refusals = 0
        self._answered = True

    def pause(self, exc: BatchError) -> float:
        """Return the seconds to wait after this error, or raise it."""
        if isinstance(exc, ApiError):
            if not exc.passes:
                raise exc
        else:
            # A key that is refused, a batch that is not found: no proof at once, since keys are renewed and lists lag.
            now = time.monotonic()
            if not self._refusals:
                self._refused_since = now
            self._refusals += 1
            patient = self._answered and now - self._refused_since < REFUSED_FOR
            if self._refusals >= MAX_REFUSALS and not patient:
                raise exc
        self._row += 1
        wait = min(MAX_POLL, 2.0**self._row)
        if isinstance(exc, ApiError) and exc.retry_after:
            wait = min(MAX_RETRY_AFTER, max(wait, exc.retry_after))
        if self._row <= 3 or self._row % 10 == 0:  # noqa: PLR2004 - said at once, then now and then
            self._reporter.warn(f"{exc}; trying again in {wait:.0f} s")
        return wait
