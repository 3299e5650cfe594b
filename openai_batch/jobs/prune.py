"""Free space: `remove` deletes jobs, and `prune` deletes the results that are stored with them."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, UncertainError
from openai_batch.files import paths

from .store import job_folder
from .store.records import PartState

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from .store.records import JobRecord
    from .workflow import Workflow


@dataclass(frozen=True, slots=True)
class Freed:
    """The size of one job, and how much of it is or would be freed."""

    job: JobRecord  # the job
    n_bytes: int  # how many bytes its deleted files have


def remove(
    workflow: Workflow, job: JobRecord, *, force: bool = False, dry_run: bool = False, gone: Collection[int] = ()
) -> Freed:
    """Remove an ended job from the registry, with its folder. Its batches stay at the provider.

    What its workers on this machine have left is removed too.
    If the same input is submitted again, these batches are found and continued, so nothing is paid twice as long as the
    provider has them. A job that was never sent may be removed too. Raises BatchError if the job still runs, if another
    job uses its answers, or if its results were not collected (accepted with `force`), and UncertainError if it is
    unknown whether a part of it has a batch. `gone` are the numbers of jobs that are removed too, or would be.
    """
    with workflow.alone(job):
        job = workflow.registry.job(job.id)
        _check_removable(job, force=force)
        worker_folders = _worker_folders(job)
        files = job_folder.all_files(job) + [path for folder in worker_folders for path in folder.iterdir()]
        if users := [user for user in _users(workflow, job) if user not in gone]:
            raise BatchError(f"job {users[0]} uses answers of job {job.id}", hint=f"`obatch rm {users[0]}` first")
        freed = Freed(job, sum(path.stat().st_size for path in files))
        if not dry_run:
            for folder in (*worker_folders, job_folder.folder_of(job)):
                shutil.rmtree(folder, ignore_errors=True)
            workflow.registry.remove(job)
    if not dry_run:
        shutil.rmtree(job_folder.folder_of(job), ignore_errors=True)  # Windows keeps the lock's file while it is open
    return freed


def prune(workflow: Workflow, *, older_than: float = 0.0, dry_run: bool = False) -> list[Freed]:
    """Delete the results that are kept with jobs which ended over `older_than` seconds ago; return what was freed.

    The jobs stay in the registry, and their results are downloaded again when they are needed. Results that were not
    collected, and answers that other jobs use, are kept.
    """
    freed = []
    for job in workflow.registry.jobs():
        if not job.collected or (job.ended_at or time.time()) > time.time() - older_than:
            continue
        with workflow.alone(job):
            files = job_folder.kept_results(job)
            if _users(workflow, job):
                files = [path for path in files if not path.name.startswith("answers-")]
            n_bytes = sum(path.stat().st_size for path in files)
            if not dry_run:
                for path in files:
                    path.unlink(missing_ok=True)
        if files:
            freed.append(Freed(job, n_bytes))
    return freed


def _check_removable(job: JobRecord, *, force: bool) -> None:
    """Raise BatchError if a job runs, is uncertain, or has results that were not collected."""
    if any(part.state == PartState.CREATING for part in job.parts):
        raise UncertainError(
            f"it is unknown whether a part of job {job.id} has a batch",
            hint=f"`obatch wait {job.id}` looks for it; `obatch cancel {job.id} --give-up` ends the job without it",
        )
    if any(part.state == PartState.RUNNING for part in job.parts):
        raise BatchError(f"job {job.id} is still running", hint=f"`obatch cancel {job.id}`, or wait until it has ended")
    if not force and not job.collected and any(part.batch_id and part.status != "failed" for part in job.parts):
        raise BatchError(
            f"the results of job {job.id} were not collected",
            hint=f"`obatch download {job.id}` collects them; --force removes the job without them",
        )


def _worker_folders(job: JobRecord) -> list[Path]:
    """Return the folders of the workers that were started here for a job's batches."""
    ids = {part.batch_id for part in job.parts}
    folder = paths.workers_dir()
    return [each for each in folder.iterdir() if each.name in ids] if folder.is_dir() else []


def _users(workflow: Workflow, job: JobRecord) -> list[int]:
    """Return the other jobs whose rows have answers of this job."""
    uids = job_folder.users_of_answers(job)
    known = [workflow.registry.by_uid(uid) for uid in uids]
    return [user.id for user in known if user is not None]
