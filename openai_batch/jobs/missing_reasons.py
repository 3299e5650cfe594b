"""Why requests of an ended job have no result: what happened to the batch of each of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from openai_batch.requests.row_set import RowSet
from openai_batch.results.outcome import NO_RESULT, Outcome, Verdict

from .store import job_folder
from .store.records import lacks_output
from .store.reused_answers import count_skipped, skipped_rows

if TYPE_CHECKING:
    from .store.records import JobRecord, PartRecord

WITHDRAWN = Verdict(Outcome.MISSING, "withdrawn: never sent; left to a later job, or cancelled")
"""The verdict on a request whose latest part ended without a batch. If it is sent again, it may be paid for twice."""

NO_OUTPUT = Verdict(Outcome.MISSING, "no output: the batch is completed, and shows no output file")
"""The verdict on a request without a result in such a batch. Its answer may exist, and was paid for."""

ANSWERED_ELSEWHERE = Verdict(
    Outcome.MISSING, "elsewhere: an earlier job, which this machine does not know, has answered some of these rows"
)
"""The verdict on a request without a result in a job that was found again without its plan of unsent rows."""

_ENDS = {
    "failed": "batch_failed: the batch failed",
    "expired": "batch_expired: the batch expired before this request had a result",
    "cancelled": "batch_cancelled: the batch was cancelled before this request had a result",
}
"""The text for a request without a result, by the status of its batch."""

_FAULTS = 3  # how many reasons of a batch are shown for each of its requests


class MissingReasons:
    """The verdicts on the requests of a job that have no result. Nothing is read before the first one is asked for."""

    def __init__(self, job: JobRecord) -> None:
        self._job = job

    def verdict(self, row: int) -> Verdict:
        """Return the verdict on a row without a result."""
        return next((verdict for verdict, rows in self._rows.items() if row in rows), self._default)

    def is_withdrawn(self, row: int) -> bool:
        """Return whether the latest part of a row ended without a batch."""
        return WITHDRAWN in self._rows and row in self._rows[WITHDRAWN]

    @functools.cached_property
    def _default(self) -> Verdict:
        """The verdict on a row of which it is not known in which part it was sent last."""
        path = job_folder.skipped_of(self._job)
        if self._job.skipped > (count_skipped(path) if path is not None else 0):
            return ANSWERED_ELSEWHERE
        verdicts = set(map(_verdict_on, self._job.parts))
        return verdicts.pop() if len(verdicts) == 1 else NO_RESULT

    @functools.cached_property
    def _rows(self) -> dict[Verdict, RowSet]:
        """The rows by the verdict on their latest part, apart from parts that ended well."""
        job = self._job
        verdicts = {part.number: _verdict_on(part) for part in job.parts}
        found = {verdict: RowSet() for verdict in verdicts.values() if verdict != NO_RESULT}
        if not found or not job_folder.has_ids(job):
            return found
        for part in job.parts:  # in the order of their numbers: a retry comes later
            for row, _ in job_folder.rows_of(job, part) if job_folder.has_rows(job, part) else ():
                for verdict, rows in found.items():
                    (rows.add if verdict == verdicts[part.number] else rows.discard)(row)
        if (path := job_folder.skipped_of(job)) is not None:
            with skipped_rows(path) as skipped:
                for row, other in skipped.repeated():
                    for rows in found.values():
                        if other in rows:
                            rows.add(row)
        return found


def _verdict_on(part: PartRecord) -> Verdict:
    """Return the verdict on a request of an ended part that has no result."""
    if part.withdrawn:
        return WITHDRAWN
    if lacks_output(part):
        return NO_OUTPUT
    text = _ENDS.get(part.status or "")
    if text is None:
        return NO_RESULT
    reasons = "; ".join(str(fault) for fault in part.faults[:_FAULTS]) + ("; …" if len(part.faults) > _FAULTS else "")
    return Verdict(Outcome.MISSING, f"{text}: {reasons}" if reasons else text, retryable=True)
