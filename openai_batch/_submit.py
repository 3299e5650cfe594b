"""Create a batch once, and find out by looking, never by sending again, what became of a lost answer.

Creating costs money and providers honour no idempotency key. So an attempt has two marks that a listing
shows: the uploaded file, which belongs to this attempt alone, and a token in the metadata.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._api_errors import OutcomeUnknown
from .errors import ApiError, BatchError, UncertainError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._api import BatchApi
    from ._batchinfo import BatchInfo

MARK = "obatch_token"
"""The metadata key of an attempt's token."""

JOB_MARK, ORDER_MARK, PART_MARK = "obatch_job", "obatch_order", "obatch_part"
"""The metadata keys of a job's mark, of the hash of what was ordered, and of the part's number, such as "2/20"."""

ROWS_MARK = "obatch_rows"
"""The metadata key of how many of a job's rows are sent, such as "3/5"; only where not all of them are."""

MAX_METADATA = 16
"""Pairs of metadata that a batch may have (OpenAI's API specification)."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_OLDER = 3600.0
_OLD_IN_A_ROW = 200
_FILE_LAG_TRIES = 4


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to create a batch, as it stands in the registry before the request leaves.

    `at` is the time of the attempt in Unix seconds by this machine's clock.
    """

    file_id: str
    endpoint: str
    window: str
    token: str
    at: float
    metadata: Mapping[str, str] | None = None
    marks: Mapping[str, str] | None = None

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
    """Send the creating request once; after an answer that proves nothing, look for the batch."""
    for lag in range(_FILE_LAG_TRIES):
        try:
            return api.create(
                input_file_id=attempt.file_id,
                endpoint=attempt.endpoint,
                window=attempt.window,
                metadata=attempt.marked_metadata(),
                token=attempt.token,
            )
        except ApiError as exc:
            # An upload can take a moment to be seen everywhere; such a refusal created nothing.
            if "find file" not in str(exc).lower() or lag == _FILE_LAG_TRIES - 1:
                raise
            sleep(2.0**lag)
        except OutcomeUnknown as exc:
            if note is not None:
                note(f"no clear answer to the batch's creation ({exc}); looking for the batch")
            return reconcile(api, attempt, sleep=sleep)
    raise AssertionError  # the loop returns or raises


def reconcile(api: BatchApi, attempt: Attempt, *, sleep: Callable[[float], None] = time.sleep) -> BatchInfo:
    """Look for the attempt's batch until its grace period ends, and return it.

    Raises UncertainError if it is not found: that is no proof that it does not exist.
    """
    grace = api.provider.create_timeout + api.provider.create_grace
    # What is left of it by the wall clock, which other processes share, and from now on by one that does not jump.
    deadline = time.monotonic() + min(grace, max(0.0, attempt.at + grace - time.time()))
    pause = _FIRST_PAUSE
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
        sleep(min(pause, max(0.1, deadline - time.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE)


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
        # Newest first is custom, not promise, so one old batch does not end the search.
        old = old + 1 if batch.created_at is not None and batch.created_at < attempt.at - _OLDER else 0
        if old >= _OLD_IN_A_ROW:
            break
    return sorted(matches, key=lambda batch: batch.created_at or 0.0)
