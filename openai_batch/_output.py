"""What lies where results are to go, and whether they may take its place: what nobody can get again is never lost."""

from __future__ import annotations

import filecmp
from typing import TYPE_CHECKING, BinaryIO

from ._aside import move_aside
from ._files import check_target, publish, stamp

if TYPE_CHECKING:
    from pathlib import Path

    from ._jobs import Job
    from ._order import Earlier
    from ._workflow import Workflow

FREE, REPLACE, ASIDE, OURS, TAKEN = "free", "replace", "aside", "ours", "taken"


def standing(flow: Workflow, target: Path, job: Job | None, earlier: Earlier) -> str:
    """Tell what lies at `target`, as the results of `job` see it, which may not be made yet.

    FREE: nothing. REPLACE: its own results of before, or those of an earlier job all of whose rows it has, untouched.
    ASIDE: what may be another result of an earlier job, or what somebody made of it. OURS: its own results, perhaps,
    of a process that was killed while it published them: the same bytes may be there, and no others be replaced.
    TAKEN: somebody's.
    """
    if not target.is_file():
        return FREE if job is None or job.output_path != str(target.absolute()) else OURS
    owners = {owner.id: owner for owner in flow.registry.at_output(str(target.absolute()))}
    mine = None if job is None else owners.pop(job.id, None)
    now = stamp(target)
    if mine is not None and mine.output_stamp == now:
        return REPLACE
    theirs = [owner for number, owner in owners.items() if number in earlier.used]
    if any(owner.output_stamp == now and owner.id in earlier.grown for owner in theirs):
        return REPLACE
    if theirs:
        return ASIDE
    return TAKEN if mine is None else OURS


def check_output(flow: Workflow, target: Path, job: Job | None, earlier: Earlier, *, force: bool) -> None:
    """Raise BatchError if results may not go to `target`, before anything is paid."""
    check_target(target, force=force or standing(flow, target, job, earlier) in (REPLACE, ASIDE, OURS))


def publish_output(
    flow: Workflow, job: Job, out: BinaryIO, part: Path, target: Path, earlier: Earlier, *, force: bool
) -> None:
    """Give a job's results their name, and write that down. Raises OutputExistsError if it is somebody else's."""
    found = REPLACE if force else standing(flow, target, job, earlier)
    # Said before it is done: after a kill in between, what lies there is known to be ours.
    flow.registry.set_output(job.id, str(target.absolute()))
    out.flush()
    if found == ASIDE and not filecmp.cmp(part, target, shallow=False) and (moved := move_aside(target)):
        flow.reporter.warn(f"{target} held other results, which are now {moved}")
    publish(out, part, target, replace=found == REPLACE)
    flow.registry.set_output(job.id, str(target.absolute()), stamp(target))
