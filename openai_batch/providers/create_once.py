"""Create a batch once. If the answer is lost, look for the batch in the provider's list; do not send it again.

A batch costs money, and most providers ignore idempotency keys. So each attempt has two marks that the list shows: the
uploaded file, which no other attempt uses, and a token in the metadata. `jobs/recover` uses the other marks.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING

from openai_batch.errors import ApiError, AuthError, BatchError, NotFoundError, UncertainError, UnreachableError
from openai_batch.net.delays import delays
from openai_batch.net.time_limit import is_over, within

from .marks import is_ours
from .port import OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from .attempt import Attempt
    from .batch_info import BatchInfo
    from .port import BatchApi

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds between two searches of the list

_OLDER = 2 * 86400.0
_OLD_IN_A_ROW = 200
"""In a list with the newest batch first, a search ends after this many batches in a row that were created over `_OLDER`
seconds before the attempt. Clocks may differ by a day."""

_MAX_TRIES = 4  # how many requests are sent at most while the provider does not know the new file yet


def create(
    api: BatchApi,
    attempt: Attempt,
    *,
    note: Callable[[str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> BatchInfo:
    """Send the request that creates a batch, and return the batch. If the answer is unclear, look for the batch.

    `note` is called with a line of text before the search. Raises UncertainError if the search finds no batch. Every
    other BatchError means that no batch was created.
    """
    # POST /batches is sent once, without the SDK's retries: a batch costs money, and most providers take a second
    # request for a new batch. It is sent again only after an error which proves that nothing was created.
    for delay in (*itertools.islice(delays(1.0), _MAX_TRIES - 1), None):
        try:
            return api.create(attempt)
        except (ApiError, AuthError, NotFoundError) as exc:
            # Such an answer says that nothing was created. One look in the list finds the batch of a server that
            # answers so and creates it all the same.
            if not isinstance(exc, UnreachableError) and (found := _find_if_listed(api, attempt)) is not None:
                return found
            # Some of the provider's servers may not know a new file yet.
            if delay is None or "find file" not in str(exc).lower():
                raise
            sleep(delay)
        except OutcomeUnknown as exc:
            if note is not None:
                note(f"no clear answer to the batch's creation ({exc}); looking for the batch")
            return reconcile(api, attempt, sleep=sleep)
    raise AssertionError  # the loop returns or raises


def reconcile(api: BatchApi, attempt: Attempt, *, sleep: Callable[[float], None] = time.sleep) -> BatchInfo:
    """Look for the attempt's batch until the provider's grace period is over, and return it.

    Raises UncertainError if it is not found, also if the time is over before (`net/time_limit`); it may exist anyway.
    """
    # The grace period: a request may arrive late, and a new batch may be listed late.
    grace = api.provider.create_timeout + api.provider.create_grace
    # Another process may have sent the request, so the wall clock shows how long ago that was. The monotonic clock
    # measures the rest of the wait, since the wall clock may be changed in the meantime.
    deadline = time.monotonic() + min(grace, max(0.0, attempt.at + grace - time.time()))
    pauses = delays(_FIRST_PAUSE, longest=_LONGEST_PAUSE)
    while True:
        try:
            found = find(api, attempt)
        except BatchError as exc:
            found, reason = None, str(exc)
        else:
            reason = "no listed batch has its marks"
        if found is not None:
            return found
        if time.monotonic() >= deadline or is_over():
            raise UncertainError(
                f"unknown whether {api.provider} created a batch of file {attempt.file_id}: {reason}",
                hint="run the same command again to look once more; --resubmit-uncertain sends it again, and you may "
                "pay twice",
            )
        sleep(min(next(pauses), max(0.1, within(deadline - time.monotonic()))))


def find(api: BatchApi, attempt: Attempt) -> BatchInfo | None:
    """Search the account's batches once, and return the attempt's batch: the oldest if there are several."""
    return next(iter(find_all(api, attempt)), None)


def find_all(api: BatchApi, attempt: Attempt) -> list[BatchInfo]:
    """Search the account's batches once, and return all that this attempt created, the oldest first."""
    matches = []
    old = 0
    first = last = None
    newest_first = True
    for listed in api.batches():
        batch, created = listed, listed.created_at
        if created is not None:
            # Most providers list the newest batch first, but none promises it, and one batch may be out of order.
            newest_first = newest_first and (last is None or created <= last)
            first, last = created if first is None else first, created
            old = old + 1 if created < attempt.at - _OLDER else 0
            if old >= _OLD_IN_A_ROW and newest_first and created < first:
                break
        if not old and not batch.input_file_id and not is_ours(batch.metadata):
            batch = api.get(batch.id)  # some lists leave out both marks
        if attempt.made(batch):
            matches.append(batch)
    return sorted(matches, key=lambda batch: batch.created_at or 0.0)


def _find_if_listed(api: BatchApi, attempt: Attempt) -> BatchInfo | None:
    """Search once; None also if the provider cannot be asked."""
    with contextlib.suppress(BatchError):
        return find(api, attempt)
    return None
