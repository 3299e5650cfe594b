"""What lies where results are to go, and whether they may take its place: what nobody can get again is never lost."""

from __future__ import annotations

import filecmp
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import OutputExistsError
from openai_batch.files.atomic import check_target, publish, stamp
from openai_batch.files.backups import move_to_backup

if TYPE_CHECKING:
    from pathlib import Path

    from .store.records import EarlierJobs, JobRecord
    from .workflow import Workflow

FREE, REPLACE, ASIDE, OURS, TAKEN = "free", "replace", "aside", "ours", "taken"


def standing(flow: Workflow, target: Path, job: JobRecord | None, earlier: EarlierJobs) -> str:
    """Tell what lies at `target`, as the results of `job` see it, which may not be made yet.

    FREE: nothing. REPLACE: its own results of before, or those of an earlier job all of whose rows it has, untouched.
    ASIDE: what may be another result of an earlier job, or what somebody made of it. OURS: its own results, perhaps,
    of a process that was killed while it published them: the same bytes may be there, and no others be replaced.
    TAKEN: somebody's.
    """
    stamps = flow.registry.at_output(str(target.absolute()))
    ours = job is not None and job.id in stamps
    if not target.is_file():
        return OURS if ours else FREE
    now = stamp(target)
    mine = stamps.pop(job.id, None) if job is not None else None
    if mine == now:
        return REPLACE
    theirs = {number: known for number, known in stamps.items() if number in earlier.used}
    if any(known == now and number in earlier.grown for number, known in theirs.items()):
        return REPLACE
    if theirs:
        return ASIDE
    return OURS if ours else TAKEN


def check_output(flow: Workflow, target: Path, job: JobRecord | None, earlier: EarlierJobs, *, force: bool) -> None:
    """Raise BatchError if results may not go to `target`, before anything is paid."""
    found = standing(flow, target, job, earlier)
    if found == TAKEN and not force and (others := flow.registry.at_output(str(target.absolute()))):
        raise OutputExistsError(
            f"{target} holds the results of job {max(others)}, which asked something else",
            hint="--force replaces it, or choose another name with -o",
        )
    check_target(target, force=force or found in (REPLACE, ASIDE, OURS))


def publish_output(
    flow: Workflow, job: JobRecord, out: BinaryIO, part: Path, target: Path, earlier: EarlierJobs, *, force: bool
) -> None:
    """Give a job's results their name, and write that down. Raises OutputExistsError if it is somebody else's."""
    found = REPLACE if force else standing(flow, target, job, earlier)
    # Said before it is done: after a kill in between, what lies there is known to be ours.
    flow.registry.set_output(job.id, str(target.absolute()))
    out.flush()
    if found == ASIDE and not filecmp.cmp(part, target, shallow=False) and (moved := move_to_backup(target)):
        flow.reporter.warn(f"{target} held other results, which are now {moved}")
    publish(out, part, target, replace=found == REPLACE)
    flow.registry.set_output(job.id, str(target.absolute()), stamp(target))
