"""Ask a provider again and again: how long to wait in between, and when to stop believing that an error passes."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING

from openai_batch.errors import ApiError, AuthError, BatchError, NotFoundError, WaitTimeoutError
from openai_batch.net.delays import delays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .provider import Provider

MAX_POLL = 60.0
MAX_POLL_LOCAL = 2.0
MAX_RETRY_AFTER = 3600.0
"""Seconds: the longest delay between two polls of a provider, of the local server, and where a server asks for more."""

MAX_REFUSALS = 3
"""Refused keys, or batches not found, in a row before that is believed."""

REFUSED_FOR = 3600.0
"""Seconds before a refusal is believed of a provider that has shown the batch before: a key may be renewed."""

_SPREAD = (1.0, 1.25)
"""Delays are made longer by chance, so that many clients do not ask at once, and never sooner than a server asked."""


def job_delays(provider: Provider) -> Iterator[float]:
    """Yield the seconds between two polls of a job: short at first, since a small job may end at once."""
    longest = MAX_POLL_LOCAL if provider.is_local else MAX_POLL
    return delays(0.5, growth=1.3, longest=longest, spread=_SPREAD)


class Poller:
    """Poll until something has ended: ask inside `attempt()`, sleep for the seconds of `next_delay()`, ask again.

    `schedule` yields the seconds between two polls. `warn` is called with a line of text about an error that may pass.
    `timeout` is in seconds from now on. `max_refusals` is MAX_REFUSALS if not given.
    """

    def __init__(
        self,
        schedule: Iterator[float],
        warn: Callable[[str], None],
        timeout: float | None = None,
        *,
        max_refusals: int | None = None,
    ) -> None:
        self._schedule = schedule
        self._warn = warn
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._max_refusals = MAX_REFUSALS if max_refusals is None else max_refusals
        self._answered = False
        self._refused_since = 0.0
        self._start_over()

    def _start_over(self) -> None:
        """Forget the errors so far."""
        self._failures = self._refusals = 0
        self._after_errors = delays(2.0, longest=MAX_POLL, spread=_SPREAD)
        self._error_delay: float | None = None

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Poll inside this block: an error that may pass is warned of, and decides the next delay; others are raised.

        A refused key (AuthError) and a missing batch (NotFoundError) are raised when they have come `max_refusals`
        times in a row; if the provider has answered before, only after REFUSED_FOR seconds.
        """
        try:
            yield
        except (NotFoundError, ApiError, AuthError) as exc:
            self._error_delay = self._delay_after(exc)
        else:
            self._start_over()
            self._answered = True

    def next_delay(self, subject: str = "the batch", status: str = "running", hint: str = "") -> float:
        """Return the seconds until the next poll.

        Raises WaitTimeoutError when the timeout has passed, with a text that names `subject` and its `status`.
        """
        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            raise WaitTimeoutError(f"{subject} is still {status}; it goes on", hint=hint)
        delay = next(self._schedule) if self._error_delay is None else self._error_delay
        return delay if left is None else min(delay, left)

    def _delay_after(self, exc: BatchError) -> float:
        """Return the seconds to wait after this error, or raise it."""
        if isinstance(exc, ApiError):
            if not exc.passes:
                raise exc
        else:
            # A refused key or a missing batch is no proof at once: keys are renewed, and a new batch may be seen late.
            now = time.monotonic()
            if not self._refusals:
                self._refused_since = now
            self._refusals += 1
            patient = self._answered and now - self._refused_since < REFUSED_FOR
            if self._refusals >= self._max_refusals and not patient:
                raise exc
        self._failures += 1
        delay = next(self._after_errors)
        if isinstance(exc, ApiError) and exc.retry_after:
            delay = max(delay, min(MAX_RETRY_AFTER, exc.retry_after) * random.uniform(*_SPREAD))  # noqa: S311
        if self._failures <= 3 or self._failures % 10 == 0:  # noqa: PLR2004 - at first each time, then now and then
            self._warn(f"{exc}; trying again in {delay:.0f} s")
        return delay
