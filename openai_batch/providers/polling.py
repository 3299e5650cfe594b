"""Ask a provider again and again: how long to wait between two polls, and which errors end the waiting."""

from __future__ import annotations

import contextlib
import math
import random
import time
from typing import TYPE_CHECKING

from openai_batch.errors import (
    ApiError,
    AuthError,
    BatchError,
    DownloadError,
    NotFoundError,
    UncertainError,
    WaitTimeoutError,
)
from openai_batch.net.delays import delays
from openai_batch.net.time_limit import deadline_in, is_over, until

from .batch_info import unknown_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .batch_info import BatchFault
    from .provider import Provider

MAX_POLL = 60.0  # the longest delay between two polls of a provider, in seconds
MAX_POLL_LOCAL = 2.0  # the same for the local server, and for workers on this machine

MAX_ACCESS_ERRORS = 3
"""Errors of access in a row (the key is refused, or the batch is not found) after which the waiting ends."""

MIN_ACCESS_OUTAGE = 3600.0
"""Seconds that errors of access must last to end the waiting if the provider has shown the batch before."""

UNKNOWN_PATIENCE = 60.0  # seconds for which a status word that we do not know may last before it is named

FAULT_GONE = 180.0  # seconds without a fault after which it is named again; longer than any pause between two polls

_SPREAD = (1.0, 1.25)
"""Each delay is multiplied by a random number from this range. It is never under 1: a server may have asked to wait."""


def job_delays(provider: Provider) -> Iterator[float]:
    """Yield the seconds between two polls of a job. They are short at first, since a small job may end at once."""
    here = provider.is_local or (provider.shards is not None and provider.shards.launcher == "processes")
    longest = MAX_POLL_LOCAL if here else MAX_POLL
    return delays(0.5, growth=1.3, longest=longest, spread=_SPREAD)


@contextlib.contextmanager
def in_time(seconds: float | None) -> Iterator[None]:
    """Within the block, requests end when `seconds` (None: any time) have passed.

    Raises WaitTimeoutError in place of an error that came after that time.
    """
    with until(deadline_in(seconds)):
        try:
            yield
        except (ApiError, DownloadError) as exc:
            if not is_over():
                raise
            raise WaitTimeoutError(
                str(exc), hint="run the same command again to continue; nothing was cancelled"
            ) from None


class Poller:
    """Poll until something has ended: ask inside `attempt()`, sleep for the seconds of `next_delay()`, ask again.

    `schedule` yields the seconds between two polls. `warn` is called with a line of text about a temporary error.
    `timeout` is in seconds from now on. `max_access_errors` is MAX_ACCESS_ERRORS if not given.
    """

    def __init__(
        self,
        schedule: Iterator[float],
        warn: Callable[[str], None],
        timeout: float | None = None,
        *,
        max_access_errors: int | None = None,
    ) -> None:
        self._schedule = schedule
        self._warn = warn
        self._deadline = deadline_in(timeout)
        self._max_access_errors = MAX_ACCESS_ERRORS if max_access_errors is None else max_access_errors
        self._answered = False
        self._unknown = ("", 0.0)  # the status word that we do not know, and since when the provider says it
        self._faults: dict[str | None, float] = {}  # the codes of the faults so far, and when each was seen last
        self._access_lost_at = 0.0
        self._start_over()

    def _start_over(self) -> None:
        """Forget the errors so far."""
        self._errors = self._access_errors = 0
        self._after_errors = delays(2.0, longest=MAX_POLL, spread=_SPREAD)
        self._error_delay: float | None = None

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Poll inside this block. A temporary error gives a warning and sets the next delay; others are raised.

        A refused key (AuthError) or a missing batch (NotFoundError) is raised when it has come `max_access_errors`
        times in a row, and if the provider has answered before, has lasted MIN_ACCESS_OUTAGE seconds. A request ends
        when the timeout has passed.
        """
        try:
            with until(self._deadline):
                yield
        except (NotFoundError, ApiError, AuthError) as exc:
            self._error_delay = self._delay_after(exc)
        except UncertainError:
            if self._deadline is None or time.monotonic() < self._deadline:
                raise  # else the timeout may have ended the search for a lost batch, and is reported
        else:
            self._start_over()
            self._answered = True

    def next_delay(
        self,
        subject: str = "the batch",
        status: str = "running",
        hint: str = "",
        *,
        unknown: str | None = None,
        faults: Sequence[BatchFault] = (),
    ) -> float:
        """Return the seconds until the next poll. `unknown` is the provider's status word if we do not know it.

        Such a word means that the batch still runs. If it lasts for UNKNOWN_PATIENCE seconds, it is named once.
        `faults` are what the provider shows while batches run, such as why they do not continue: each is named once,
        and again if it was gone for FAULT_GONE seconds.
        Raises WaitTimeoutError when the timeout has passed; its text names `subject` and `status`.
        """
        now = time.monotonic()
        for fault in faults:
            if now - self._faults.get(fault.code, -math.inf) >= FAULT_GONE:
                self._warn(f"{subject}: {fault.message}")
            self._faults[fault.code] = now
        if (unknown or "") != self._unknown[0]:
            self._unknown = (unknown or "", time.monotonic())
        elif unknown and time.monotonic() - self._unknown[1] >= UNKNOWN_PATIENCE:
            self._unknown = (unknown, math.inf)
            self._warn(f"{subject}: {unknown_status(unknown)}")
        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            raise WaitTimeoutError(f"{subject} is still {status}", hint=hint)
        delay = next(self._schedule) if self._error_delay is None else self._error_delay
        return delay if left is None else min(delay, left)

    def _delay_after(self, exc: BatchError) -> float:
        """Return the seconds to wait after this error, or raise it."""
        if isinstance(exc, ApiError):
            if not exc.passes:
                raise exc
        else:
            # One such error proves little: a key may be renewed, and a new batch may not be visible yet.
            now = time.monotonic()
            if not self._access_errors:
                self._access_lost_at = now
            self._access_errors += 1
            patient = self._answered and now - self._access_lost_at < MIN_ACCESS_OUTAGE
            if self._access_errors >= self._max_access_errors and not patient:
                raise exc
        self._errors += 1
        delay = next(self._after_errors)
        if isinstance(exc, ApiError) and exc.retry_after:
            delay = max(delay, exc.retry_after * random.uniform(*_SPREAD))  # noqa: S311
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return delay  # the timeout itself may be the reason, and is reported
        if self._errors <= 3 or self._errors % 10 == 0:  # noqa: PLR2004 - each of the first three, then every tenth
            self._warn(f"{exc}; trying again in {delay:.0f} s")
        return delay
