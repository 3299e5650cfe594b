"""Stop a job: cancel its batches at the provider, and end its parts that were not sent."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from openai_batch.errors import ApiError, BatchError, UncertainError

from .store.records import CREATING, ENDED, RUNNING, WAITING
from .store.registry import MovedOnError

if TYPE_CHECKING:
    from .store.records import JobRecord, PartRecord
    from .workflow import Workflow


def cancel(workflow: Workflow, job: JobRecord, *, give_up: bool = False) -> JobRecord:
    """Ask the provider to stop a job's batches; what they have finished is kept, and billed. Returns the job.

    Its unsent parts are never sent. A batch that cannot be cancelled does not keep the others running: its error is
    raised at the end, as is UncertainError for a part of which nobody knows whether it has a batch, unless `give_up`.
    """
    failed: list[BatchError] = []
    asked: set[str] = set()
    _stop(workflow, job, asked, failed)
    try:
        withdraw(workflow, workflow.registry.job(job.id), resubmit_uncertain=give_up)
    except UncertainError as exc:
        hint = (
            f"obatch cancel {job.id} looks once more; --give-up ends the job without that batch, whether it runs or not"
        )
        failed.append(UncertainError(f"job {job.id}: {exc}; nothing else of it is sent", hint=hint))
    except BatchError as exc:
        failed.append(exc)
    # Those that another process, or the search for a lost one, has brought since.
    _stop(workflow, workflow.registry.job(job.id), asked, failed)
    if failed:
        raise failed[0]
    return workflow.refresh(workflow.registry.job(job.id))


def withdraw(workflow: Workflow, job: JobRecord, *, resubmit_uncertain: bool = False) -> JobRecord:
    """Make sure that the unsent parts of a job are never sent, and return the job.

    Raises UncertainError, after all else is withdrawn, if it is unknown whether a part has a batch; with
    `resubmit_uncertain` such a part is given up, whatever became of its batch.
    """
    if job.submitted:
        return job
    with workflow.alone(job):
        job = workflow.registry.job(job.id)
        for part in job.parts:
            if part.state in WAITING:
                _give_up(workflow, part)
        unclear: UncertainError | None = None
        for part in job.parts:
            if part.state == CREATING:
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


def _stop(workflow: Workflow, job: JobRecord, asked: set[str], failed: list[BatchError]) -> None:
    """Cancel the running batches that are not in `asked` yet, and collect the errors in `failed`."""
    for part in job.parts:
        if part.batch_id and part.state == RUNNING and part.batch_id not in asked:
            asked.add(part.batch_id)
            try:
                with contextlib.suppress(MovedOnError):  # refused meanwhile, and put back by another process
                    _stop_one(workflow, job, part.batch_id)
            except BatchError as exc:
                failed.append(exc)


def _stop_one(workflow: Workflow, job: JobRecord, batch_id: str) -> None:
    api = workflow.api(job)
    try:
        info = api.cancel(batch_id)
    except ApiError as exc:
        if exc.status not in (400, 409):
            raise
        info = api.get(batch_id)  # it ended meanwhile
    workflow.store_batch(job, info)


def _give_up(workflow: Workflow, part: PartRecord) -> None:
    workflow.registry.set_part(part, expect=part.state, state=ENDED, status="cancelled", ended_at=time.time())
