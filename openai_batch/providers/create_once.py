"""Create a batch once. If the answer is lost, find out by listing batches what happened, never by sending again.

A batch costs money, and providers ignore idempotency keys. So each attempt has two marks that a listing shows: the
uploaded file, which belongs to this attempt alone, and a token in the metadata.
"""

from __future__ import annotations

import itertools
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import ApiError, BatchError, UncertainError
from openai_batch.net.delays import delays

from .api_errors import OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .api import BatchApi
    from .batch_info import BatchInfo

MARK = "obatch_token"
"""The metadata key of an attempt's token."""

JOB_MARK, ORDER_MARK, PART_MARK = "obatch_job", "obatch_order", "obatch_part"
"""The metadata keys of a job's mark, of the hash of what was ordered, and of the part's number, such as "2/20"."""

ROWS_MARK = "obatch_rows"
"""The metadata key of how many of a job's rows are sent, such as "3/5"; only where not all of them are."""

MAX_METADATA = 16
"""Pairs of metadata that a batch may have (OpenAI's API specification)."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
"""Seconds between two listings."""

_OLDER = 3600.0
_OLD_IN_A_ROW = 200
"""The search ends after this many batches in a row that were created over `_OLDER` seconds before the attempt."""

_FILE_LAG_TRIES = 4
"""Requests that are sent while the provider does not know the new file yet."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to create a batch, as the registry has it before the request is sent."""

    file_id: str
    """The uploaded input, which no other attempt uses."""
    endpoint: str
    """The path that the requests are for, such as /v1/chat/completions."""
    window: str
    """The completion window, such as 24h."""
    token: str
    """What `new_token` made for this attempt."""
    at: float
    """When the attempt was made: Unix seconds by this machine's clock."""
    metadata: Mapping[str, str] | None = None
    """The user's own metadata."""
    marks: Mapping[str, str] | None = None
    """Our other marks: the job, the order, the part, the rows."""

    def marked_metadata(self) -> dict[str, str]:
        """Return the user's metadata, then the token and the other marks as far as there is room."""
        pairs = {**(self.metadata or {}), MARK: self.token, **(self.marks or {})}
        return dict(list(pairs.items())[:MAX_METADATA])

    def made(self, batch: BatchInfo) -> bool:
        """Tell whether `batch` bears one of this attempt's marks."""
        return batch.input_file_id == self.file_id or batch.metadata.get(MARK) == self.token


def new_token() -> str:
    """Return a new attempt's token: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def create(
    api: BatchApi,
    attempt: Attempt,
    *,
    note: Callable[[str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> BatchInfo:
    """Send the request that creates a batch once, and return the batch; if the answer is unclear, look for it.

    `note` is called with a line of text in that case. Raises UncertainError if the batch is not found then, and the
    ApiError of a refusal.
    """
    # POST /batches is sent once, without the SDK's own retries: a batch costs money, and no provider can tell a second
    # request from a new order. The only error after which it is sent again is one that proves that nothing was created.
    for delay in (*itertools.islice(delays(1.0), _FILE_LAG_TRIES - 1), None):
        try:
            return api.create(
                input_file_id=attempt.file_id,
                endpoint=attempt.endpoint,
                window=attempt.window,
                metadata=attempt.marked_metadata(),
                token=attempt.token,
            )
        except ApiError as exc:
            # A new upload may not be known to all of the provider's servers yet. Such a refusal created nothing.
            if delay is None or "find file" not in str(exc).lower():
                raise
            sleep(delay)
        except OutcomeUnknown as exc:
            if note is not None:
                note(f"no clear answer to the batch's creation ({exc}); looking for the batch")
            return reconcile(api, attempt, sleep=sleep)
    raise AssertionError  # the loop returns or raises


def reconcile(api: BatchApi, attempt: Attempt, *, sleep: Callable[[float], None] = time.sleep) -> BatchInfo:
    """Look for the attempt's batch until the provider's grace period has passed, and return it.

    Raises UncertainError if it is not found: that does not prove that it does not exist.
    """
    # A request that was lost on its way may still create a batch, and a new batch may be listed late.
    grace = api.provider.create_timeout + api.provider.create_grace
    # What is left of it is told by the wall clock, which other processes share; from now on a steady clock counts.
    deadline = time.monotonic() + min(grace, max(0.0, attempt.at + grace - time.time()))
    pauses = delays(_FIRST_PAUSE, longest=_LONGEST_PAUSE)
    while True:
        try:
            found = find(api, attempt)
        except BatchError as exc:
            found, reason = None, str(exc)
        else:
            reason = "no listed batch bears its marks"
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            raise UncertainError(
                f"unknown whether {api.provider} created a batch of file {attempt.file_id}: {reason}",
                hint="the same command again looks once more; --resubmit-uncertain sends it anew, at the risk of "
                "paying twice",
            )
        sleep(min(next(pauses), max(0.1, deadline - time.monotonic())))


def find(api: BatchApi, attempt: Attempt) -> BatchInfo | None:
    """Look through the account's batches once; of several that bear the attempt's marks return the oldest."""
    return next(iter(find_all(api, attempt)), None)


def find_all(api: BatchApi, attempt: Attempt) -> list[BatchInfo]:
    """Return every batch that bears the attempt's marks, the oldest first."""
    matches = []
    old = 0
    for batch in api.batches():
        if attempt.made(batch):
            matches.append(batch)
        # Most listings have the newest batch first, but none promises it: one old batch does not end the search.
        old = old + 1 if batch.created_at is not None and batch.created_at < attempt.at - _OLDER else 0
        if old >= _OLD_IN_A_ROW:
            break
    return sorted(matches, key=lambda batch: batch.created_at or 0.0)
