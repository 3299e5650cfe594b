"""Have the answers of a job by a deadline: if its batches may be late, the rest is sent outside of a batch.

A job is at risk when the time until the deadline is no longer than what the rest may take: CANCEL_SECONDS for the
batches to stop, and REQUEST_SECONDS for each request, of which `direct.AT_ONCE` are sent at a time. All requests
of the job are counted, since most batches show no progress. Then, in this order:

1. The deadline is stored with the job before the waiting begins. The same command finds it there after a kill, and
   continues with these steps, also after that time of day.
2. The batches are cancelled, and the command waits until they have ended: what they have finished is kept and paid.
   A batch that does not end keeps the rest from being sent, since its requests might be paid twice.
3. The results are collected. The rest are the requests without an answer that it helps to send again, and those that
   were never sent.
4. The price of the rest is shown. It is refused if it can exceed `max_cost`, together with what was spent.
5. The rest is stored as a new part of the job, and then answered (`direct`). A stored part is finished by the next
   command that continues the job: this one, `run`, `wait` or `retry`.

Steps 2 to 4 change nothing that cannot be done again, and step 5 sends only what is not in the journal of the part.
So a kill at any time affects only the requests that were being answered: `direct.AT_ONCE` of them may be paid twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, WaitTimeoutError, count_text

from .budget import check_direct
from .cancel import cancel
from .direct import AT_ONCE, LOST
from .missing_reasons import WITHDRAWN
from .retry import retry, survey

if TYPE_CHECKING:
    from decimal import Decimal

    from openai_batch.results.outcome import Verdict

    from .store.records import JobRecord
    from .workflow import Workflow

CANCEL_SECONDS = 600.0  # seconds that a batch may take to stop: the ten minutes of OpenAI
REQUEST_SECONDS = 5.0  # seconds that a request may take


def risk_time(job: JobRecord, deadline: float) -> float:
    """Return from when on a job is at risk of missing a deadline, in Unix seconds."""
    sent = max(0, job.requests - job.skipped)
    return deadline - CANCEL_SECONDS - REQUEST_SECONDS * sent / AT_ONCE


def wait_until(
    workflow: Workflow, job: JobRecord, deadline: float, max_cost: Decimal, *, timeout: float | None = None
) -> JobRecord:
    """Wait for a job as `Workflow.wait` does; if it is at risk of missing the deadline, send the rest at once.

    `deadline` is in Unix seconds. If the job was at risk of an earlier one already, that one counts. Raises
    CostError, before it waits, if the job can cost more than `max_cost` at the full price.
    """
    now = time.time()
    if job.deadline is None or risk_time(job, job.deadline) > now:
        if not job.ended:
            check_direct(workflow, job, max_cost)
        workflow.registry.set_job(job.id, deadline=deadline, max_cost=str(max_cost))
    else:
        deadline = job.deadline
    left = max(0.0, risk_time(job, deadline) - now)
    try:
        job = workflow.wait(job, timeout=left if timeout is None else min(left, timeout))
    except WaitTimeoutError:
        if timeout is not None and timeout < left:
            raise
    if time.time() >= risk_time(job, deadline):
        job = _finish(workflow, workflow.registry.job(job.id), max_cost)
    workflow.registry.set_job(job.id, deadline=None)
    return workflow.registry.job(job.id)


def _finish(workflow: Workflow, job: JobRecord, max_cost: Decimal) -> JobRecord:
    """Stop the batches of a job, and have the rest answered outside of a batch."""
    if not job.ended:
        workflow.reporter.note(f"job {job.id}: it may miss the deadline; its batches are cancelled")
        job = workflow.wait(cancel(workflow, job))
    failures = survey(workflow, job)
    job = workflow.registry.job(job.id)
    for part in job.parts:
        if part.batch_id and part.status != "completed" and part.counts.completed and not part.output_file_id:
            raise BatchError(
                f"batch {part.batch_id} has finished {count_text(part.counts.completed, 'request')}, and shows no"
                " results; the rest was not sent, since these would be paid twice",
                hint="the same command again looks once more",
            )
    return retry(workflow, job, failures, _is_rest, max_cost, direct=True)


def _is_rest(verdict: Verdict) -> bool:
    """Return whether a request is sent; not one whose answer was lost outside of a batch, which may have been paid."""
    return verdict == WITHDRAWN or (verdict.retryable and not verdict.cause.startswith(LOST))
