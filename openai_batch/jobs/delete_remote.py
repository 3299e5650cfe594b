"""Delete the files of ended jobs at their providers: the uploaded input, the results and the errors. Only on request.

The copies of the results in a job's folder are then the only ones here, so `prune` keeps them.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openai_batch.errors import ApiError, BatchError, NotFoundError

from .provider_files import is_kept
from .store.records import FOREIGN, lacks_output

if TYPE_CHECKING:
    from openai_batch.providers.port import BatchApi

    from .store.records import JobRecord, PartRecord
    from .workflow import Workflow

_BEGUN, _DONE = 1, 2  # the values of `PartRecord.deleted`


@dataclass(frozen=True, slots=True)
class Deleted:
    """The files of one job that were deleted at its provider, or would be."""

    job: JobRecord  # the job
    files: list[str]  # the ids of the files


def delete_remote(workflow: Workflow, job: JobRecord, *, dry_run: bool = False) -> Deleted:
    """Delete the files of a job's batches and its uploads without a batch, and return which they are.

    Files that the provider no longer has count as deleted. Raises BatchError if the job has not ended, if its results
    were not collected or are not kept here, or if its batch was created elsewhere; and ApiError.
    """
    with workflow.alone(job):
        job = workflow.registry.job(job.id)
        _check_deletable(job)
        files = []
        for part in job.parts:
            ids = _remote_files(part)
            files += ids
            if ids and not dry_run:
                # The row comes first: after a kill, `prune` must not delete the only copy.
                workflow.registry.set_part(part, deleted=_BEGUN)
                for file_id in ids:
                    _delete(workflow.api(job), file_id)
                workflow.registry.set_part(part, deleted=_DONE)
        return Deleted(workflow.registry.job(job.id), files)


def _delete(api: BatchApi, file_id: str) -> None:
    """Delete a file. Raises ApiError if it is still there."""
    try:
        api.delete_file(file_id)
    except NotFoundError as exc:
        with contextlib.suppress(NotFoundError):
            api.file(file_id)
            raise ApiError(f"{api.provider} does not delete files: {exc}", hint="delete them on its website") from exc


def delete_old(workflow: Workflow, *, older_than: float, dry_run: bool = False) -> list[Deleted]:
    """Delete the files of all jobs that ended over `older_than` seconds ago and can be deleted; return which they are.

    A provider that cannot be asked is a warning.
    """
    deleted = []
    for job in workflow.registry.jobs():
        if not job.ended or (job.ended_at or time.time()) > time.time() - older_than:
            continue
        with contextlib.suppress(BatchError):
            _check_deletable(job)
            try:
                found = delete_remote(workflow, job, dry_run=dry_run)
            except BatchError as exc:
                workflow.reporter.warn(f"job {job.id}: {exc}")
                raise
            deleted += [found] if found.files else []
    return deleted


def _remote_files(part: PartRecord) -> list[str]:
    """Return the ids of the files of a part that are not deleted yet.

    The output file of a completed batch that has not shown one may still appear: nothing of it is deleted.
    """
    if part.deleted == _DONE or lacks_output(part):
        return []
    results = (part.output_file_id, part.error_file_id) if part.batch_id else ()
    return [file_id for file_id in (part.file_id, *results) if file_id]


def _check_deletable(job: JobRecord) -> None:
    """Raise BatchError if files of a job may still be needed, or are not ours."""
    if job.identity.startswith(FOREIGN):
        raise BatchError(
            f"the batch of job {job.id} was not created by obatch: its files are not deleted",
            hint="delete them with the program that created it",
        )
    if not job.ended:
        status = replace(job, busy=False).status  # this process has its lock
        hint = f"`obatch wait {job.id}` waits for its end; `obatch cancel {job.id}` ends it"
        raise BatchError(f"job {job.id} is still {status}", hint=hint)
    with_results = [part for part in job.parts if part.batch_id and part.status != "failed"]
    if with_results and not job.collected:
        message = f"the results of job {job.id} were not collected"
        raise BatchError(message, hint=f"`obatch download {job.id}` collects them")
    if not all(part.deleted == _DONE or is_kept(job, part) for part in with_results):
        message = f"the results of job {job.id} are not kept here any more"
        raise BatchError(message, hint=f"`obatch download {job.id} --force` fetches them again")
