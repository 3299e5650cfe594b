"""Stop a job: its batches at the provider, and what of it is not sent yet."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from ._jobs import CREATING, ENDED, RUNNING, WAITING
from ._registry import MovedOnError
from .errors import ApiError, BatchError, UncertainError

if TYPE_CHECKING:
    from ._jobs import Job, Part
    from ._workflow import Workflow


def cancel(flow: Workflow, job: Job, *, give_up: bool) -> Job:
    """Cancel the running batches, then withdraw what waits; what went wrong with one of them is raised at the end."""
    failed: list[BatchError] = []
    asked: set[str] = set()
    _stop(flow, job, asked, failed)
    try:
        flow.withdraw(flow.registry.job(job.id), resubmit_uncertain=give_up)
    except UncertainError as exc:
        hint = (
            f"obatch cancel {job.id} looks once more; --give-up ends the job without that batch, whether it runs or not"
        )
        failed.append(UncertainError(f"job {job.id}: {exc}; nothing else of it is sent", hint=hint))
    except BatchError as exc:
        failed.append(exc)
    # Those that another process, or the search for a lost one, has brought since.
    _stop(flow, flow.registry.job(job.id), asked, failed)
    if failed:
        raise failed[0]
    return flow.refresh(flow.registry.job(job.id))


def _stop(flow: Workflow, job: Job, asked: set[str], failed: list[BatchError]) -> None:
    """Cancel the running batches that were not `asked` to stop yet, and keep what goes wrong."""
    for part in job.parts:
        if part.batch_id and part.state == RUNNING and part.batch_id not in asked:
            asked.add(part.batch_id)
            try:
                with contextlib.suppress(MovedOnError):  # refused meanwhile, and put back by another process
                    _stop_one(flow, job, part.batch_id)
            except BatchError as exc:
                failed.append(exc)


def _stop_one(flow: Workflow, job: Job, batch_id: str) -> None:
    api = flow.api(job)
    try:
        info = api.cancel(batch_id)
    except ApiError as exc:
        if exc.status not in (400, 409):
            raise
        info = api.get(batch_id)  # it ended meanwhile
    flow.note_batch(job, info)


def withdraw(flow: Workflow, job: Job, *, resubmit_uncertain: bool) -> Job:
    """Mark a job's unsent parts as ended; the caller keeps other processes out of the job."""
    for part in job.parts:
        if part.state in WAITING:
            _give_up(flow, part)
    unclear: UncertainError | None = None
    for part in job.parts:
        if part.state == CREATING:
            try:
                flow.look_for(job, part, resubmit_uncertain=False)
            except UncertainError as exc:
                if resubmit_uncertain:
                    _give_up(flow, part)
                else:
                    unclear = unclear or exc
    if unclear is not None:
        raise unclear
    return flow.registry.job(job.id)


def _give_up(flow: Workflow, part: Part) -> None:
    flow.registry.set_part(part, expect=part.state, state=ENDED, status="cancelled", ended_at=time.time())
