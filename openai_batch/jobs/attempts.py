"""What identifies a part's attempt to create a batch, at the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch.errors import BatchError
from openai_batch.net.time_limit import is_over
from openai_batch.providers import create_once
from openai_batch.providers.attempt import Attempt
from openai_batch.providers.marks import Marks

from .token_limit import was_refused

if TYPE_CHECKING:
    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.port import BatchApi

    from .store.records import JobRecord, PartRecord


def attempt_of(job: JobRecord, part: PartRecord) -> Attempt:
    """Return a part's latest attempt to create a batch, with the marks that are in the metadata of its batch."""
    return Attempt(
        file_id=str(part.file_id),
        endpoint=job.endpoint,
        window=job.window,
        token=str(part.token),
        at=part.attempted_at or 0.0,
        metadata=job.metadata,
        marks=marks_of(job, part),
        output_seconds=job.output_seconds,
    )


def marks_of(job: JobRecord, part: PartRecord) -> Marks:
    """Return the marks of a part's batch and of its file."""
    sent, rows = (job.requests - job.skipped, job.requests) if job.skipped else (0, 0)
    return Marks(job.uid, job.order, part.number, len(job.parts), sent, rows)


def created_before(api: BatchApi, attempt: Attempt) -> BatchInfo | None:
    """Return the batch that an earlier attempt with the same file has created, although it was refused."""
    try:
        return next((batch for batch in create_once.find_all(api, attempt) if was_refused(batch) is None), None)
    except BatchError:
        if is_over():  # the search was cut short
            raise
        return None  # without a list, the refusal is believed
