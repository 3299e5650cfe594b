"""How long to wait between two looks at a provider, and when to stop believing that an error passes."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING

from .errors import ApiError, AuthError, BatchError, NotFoundError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._jobs import Job
    from ._profile import Provider
    from ._report import Reporter

MAX_POLL = 60.0
MAX_POLL_LOCAL = 2.0
MAX_RETRY_AFTER = 3600.0
"""Seconds: the longest wait between two looks at a provider, at the local server, and where one asks for longer."""

MAX_REFUSALS = 3
"""Refused keys, or batches not found, in a row before that is believed."""

REFUSED_FOR = 3600.0
"""Seconds that the same is not believed of a provider that has shown the batch before: a key may be renewed."""


class Pace:
    """The pace of following one job: look within `looking`, sleep for the seconds of `nap`, look again."""

    def __init__(self, provider: Provider, reporter: Reporter, timeout: float | None = None) -> None:
        self._longest = MAX_POLL_LOCAL if provider.is_local else MAX_POLL
        self._reporter = reporter
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._pause = 0.5
        self._row = 0
        self._refusals = 0
        self._refused_since = 0.0
        self._answered = False

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Look at the provider within; an error that may pass is told and makes the next nap longer."""
        try:
            yield
        except (NotFoundError, ApiError, AuthError) as exc:
            self._pause = self._after(exc)
        else:
            self._row = self._refusals = 0
            self._answered = True

    def nap(self, job: Job) -> float:
        """Return the seconds until the next look at `job`. Raises WaitTimeoutError when the time is up."""
        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            raise WaitTimeoutError(f"job {job.id} is still {job.status}; it goes on", hint=f"obatch wait {job.id}")
        # Spread, to keep many clients from asking at once, and never sooner than a server has asked for.
        nap = self._pause * random.uniform(1.0, 1.25)  # noqa: S311
        self._pause = min(self._longest, self._pause * 1.3)
        return nap if left is None else min(nap, left)

    def _after(self, exc: BatchError) -> float:
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
