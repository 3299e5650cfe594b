"""What to do about a batch that failed as a whole, and about a job that was not sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch.errors import BatchError
from openai_batch.providers.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_batch.providers.batch_info import BatchFault

    from .store.records import JobRecord


def advice(faults: Iterable[BatchFault]) -> str:
    """Return the remedy for the first fault that has one; an empty text if there is none."""
    return next(filter(None, (remedy(fault.code, fault.message) for fault in faults)), "")


def not_sent(job: JobRecord) -> BatchError:
    """Return the error for a job that would have to be started first."""
    why = f": {job.reason}" if job.reason else ""
    hint = f"to send it, run the command that started it again; `obatch cancel {job.id}` withdraws it"
    return BatchError(f"job {job.id} was not sent{why}", hint=hint)
