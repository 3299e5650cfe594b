"""Stop a job: cancel its batches at the provider, and end its parts that were not sent."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from openai_batch.errors import ApiError, BatchError, UncertainError
from openai_batch.net.time_limit import deadline_in, until

from .direct import CANCELLING
from .store.records import UNSENT, PartState
from .store.registry import MovedOnError

if TYPE_CHECKING:
    from .store.records import JobRecord, PartRecord
    from .workflow import Workflow


CANCEL_SECONDS = 600.0  # seconds in which the batches of one job must be cancelled


def cancel(workflow: Workflow, job: JobRecord, *, give_up: bool = False) -> JobRecord:
    """Ask the provider to stop a job's batches, and never send its unsent parts. Returns the job.

    Finished requests are kept and billed. If a batch cannot be cancelled, the others still are, and its error is
    raised at the end. Raises UncertainError at the end if it is unknown whether a part has a batch, unless `give_up`.
    """
    failed: list[BatchError] = []
    tried: set[str] = set()
    with until(deadline_in(CANCEL_SECONDS)):
        _end_unsent(workflow, job)
        _stop(workflow, workflow.registry.job(job.id), tried, failed)
        try:
            withdraw(workflow, workflow.registry.job(job.id), resubmit_uncertain=give_up)
        except UncertainError as exc:
            hint = f"`obatch cancel {job.id}` looks once more; --give-up ends the job, even if that batch runs"
            failed.append(UncertainError(f"job {job.id}: {exc}; its other parts are not sent", hint=hint))
        except BatchError as exc:
            failed.append(exc)
        # Batches that another process was just creating, or that the search for a lost batch has found.
        _stop(workflow, workflow.registry.job(job.id), tried, failed)
        if failed:
            raise failed[0]
        return workflow.refresh(workflow.registry.job(job.id))


def _end_unsent(workflow: Workflow, job: JobRecord) -> None:
    """End the parts of a job that are not sent, although another process may be sending it: its lock is not taken.

    That process cannot continue with such a part, because each step needs the state that is stored before it, and it
    sends no other part then. A part whose create request is on its way is left as it is.
    """
    for _ in UNSENT:  # a part may go one step on at the same moment, at most as often as there are such states
        for part in workflow.registry.job(job.id).parts:
            with contextlib.suppress(MovedOnError):
                if part.direct and part.state == PartState.PLANNED:
                    workflow.registry.set_part(part, expect=part.state, status=CANCELLING)
                elif part.state in UNSENT:
                    _give_up(workflow, part)


def withdraw(workflow: Workflow, job: JobRecord, *, resubmit_uncertain: bool = False) -> JobRecord:
    """Make sure that the unsent parts of a job are never sent, and return the job.

    Raises UncertainError, after the other parts are withdrawn, if it is unknown whether a part has a batch. With
    `resubmit_uncertain` such a part is ended too, even if a batch exists.
    """
    if job.submitted:
        return job
    with workflow.alone(job):
        job = workflow.registry.job(job.id)
        for part in job.parts:
            if part.state in UNSENT:
                _give_up(workflow, part)
        unclear: UncertainError | None = None
        for part in job.parts:
            if part.state == PartState.CREATING:
                try:
                    workflow.find_lost_batch(job, part, resubmit_uncertain=False)
                except UncertainError as exc:
                    if resubmit_uncertain:
                        _give_up(workflow, part)
                    else:
                        unclear = unclear or exc
        if unclear is not None:
            raise unclear
        return workflow.registry.job(job.id)


def _stop(workflow: Workflow, job: JobRecord, tried: set[str], failed: list[BatchError]) -> None:
    """Cancel the running batches whose ids are not in `tried`, add these, and collect the errors in `failed`."""
    for part in job.parts:
        if part.batch_id and part.state == PartState.RUNNING and part.batch_id not in tried:
            tried.add(part.batch_id)
            try:
                with contextlib.suppress(MovedOnError):  # another process found it refused, and put the part back
                    _stop_one(workflow, job, part.batch_id)
            except BatchError as exc:
                failed.append(exc)


def _stop_one(workflow: Workflow, job: JobRecord, batch_id: str) -> None:
    """Cancel one batch, and store its state."""
    api = workflow.api(job)
    try:
        info = api.cancel(batch_id)
    except ApiError as exc:
        if exc.status not in (400, 409):
            raise
        info = api.get(batch_id)  # it has just ended
    workflow.store_batch(job, info)


def _give_up(workflow: Workflow, part: PartRecord) -> None:
    """End a part without a batch."""
    answers = part.source if part.direct else None  # those that were there before
    workflow.registry.set_part(
        part,
        expect=part.state,
        state=PartState.ENDED,
        status="cancelled",
        ended_at=time.time(),
        output_file_id=answers,
    )
