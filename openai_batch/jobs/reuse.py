"""Plan which requests of a spec need not be sent: identical ones, and those that an earlier job has answered.

An earlier job is one with the same input, which may have grown or changed since, or with the same output. It must have
ended before its answers are taken, so that nothing is paid twice. They are then stored in its folder
(`reused_answers.AnswerFile`), since a provider deletes them one day.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from openai_batch.errors import NotFoundError, UnknownProviderError
from openai_batch.requests.fingerprints import paired, repeats
from openai_batch.requests.split import copy_requests

from .collect import keep_answers
from .provider_files import all_kept
from .recover import recover_lost
from .store import job_folder
from .store.records import EarlierJobs
from .store.reused_answers import THIS_JOB, SkippedRows, SubmitPlan, skipped_rows
from .store.row_set import RowSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .job_spec import JobSpec
    from .store.records import JobRecord
    from .workflow import Workflow

MAX_EARLIER = 100
"""How many earlier jobs are compared with an input, the newest first."""


@dataclass(slots=True)
class ReusePlan:
    """Which rows of a spec need not be sent, as far as files on this machine tell; no provider was asked."""

    spec: JobSpec
    submit_plan: SubmitPlan  # contains the repeated rows only; `plan_submission` adds those with an earlier answer
    dedup: bool  # whether identical requests are sent once
    folder: Path  # a work folder
    earlier: EarlierJobs = field(default_factory=EarlierJobs)  # the earlier jobs that share rows with the spec
    common: int = 0  # how many rows of the spec are in an earlier job too; repeated rows do not count
    shared: list[tuple[JobRecord, Path]] = field(default_factory=list)  # each such job, and its file of row pairs


def find_reusable(
    workflow: Workflow, spec: JobSpec, folder: Path, *, dedup: bool, earlier: bool = True, output: str | None = None
) -> ReusePlan:
    """Find the identical requests of a spec, if `dedup`, and, if `earlier`, the earlier jobs that share rows with it.

    `output` is the path of its results, `folder` a work folder. Raises ApiError if our batches must be recovered first
    and the provider cannot be asked.
    """
    batch_file = spec.batch_file
    submit_plan = SubmitPlan(batch_file.keys, folder / "input_name", folder / "reused.sqlite")
    submit_plan.input_name.write_bytes((spec.input_name or "").encode("utf-8", "surrogateescape"))
    with skipped_rows(submit_plan.path, "rwc") as skipped:
        if dedup:
            skipped.add((row, THIS_JOB, first) for row, first in repeats(submit_plan.keys, folder))
        plan = ReusePlan(spec, replace(submit_plan, repeated=skipped.count()[0]), dedup, folder)
        if earlier:
            recover_lost(workflow, spec.provider)
            _compare(workflow, plan, skipped, output)
    return plan


def _compare(workflow: Workflow, plan: ReusePlan, skipped: SkippedRows, output: str | None) -> None:
    """Find the jobs that share rows with a spec, the newest first, until each row is in one of them."""
    spec, rows = plan.spec, plan.spec.batch_file.report.requests
    used, grown = set(), set()
    seen = RowSet()
    compared = 0
    numbers = workflow.registry.earlier(
        workflow.account(spec.provider), spec.input_name, output, spec.batch_file.report.endpoint
    )
    at_output = {} if output is None else workflow.registry.at_output(output)
    for number in numbers:
        if compared == MAX_EARLIER:
            break
        if plan.common + plan.submit_plan.repeated >= rows and number not in at_output:
            continue
        job = workflow.registry.job(number)
        if job.busy and not job_folder.has_ids(job):
            with workflow.alone(job):  # another process is storing its files now
                pass
        other_keys = job_folder.keys_of(job)
        if other_keys is None or job.identity == spec.identity:
            continue
        compared += 1
        pairs = plan.folder / f"pairs-{number}"
        shared = _write_pairs(plan, other_keys, pairs, skipped, seen)
        if shared:
            used.add(number)
            plan.shared.append((job, pairs))
        if shared == job.requests <= rows:
            grown.add(number)
    plan.earlier = EarlierJobs(frozenset(used), frozenset(grown), max(numbers, default=0))


def _write_pairs(plan: ReusePlan, other_keys: Path, target: Path, skipped: SkippedRows, seen: RowSet) -> int:
    """Write (row, row of the other job) for each request that both have; return how many there are."""
    shared = 0
    with target.open("w", encoding="ascii", newline="") as out:
        for row, other in paired(plan.submit_plan.keys, other_keys, plan.folder, once=plan.dedup):
            shared += 1
            out.write(f"{row} {other}\n")
            if row not in skipped and row not in seen:
                seen.add(row)
                plan.common += 1
    return shared


def plan_submission(workflow: Workflow, plan: ReusePlan, ended: Callable[[JobRecord], JobRecord] | None) -> JobSpec:
    """Return the spec without the rows that need not be sent.

    `ended` is a function that waits until an earlier job has ended and returns it. With None, no answers of earlier
    jobs are used. Raises NotFoundError if an earlier job's answers are no longer available, and the errors of `ended`.
    """
    submit_plan = plan.submit_plan
    if ended is not None:
        with skipped_rows(submit_plan.path, "rw") as skipped:
            workflow.connections.to(plan.spec.provider)
            for job, pairs in plan.shared:
                if any(row not in skipped for row, _ in _read_pairs(pairs)):
                    _take(workflow, ended(job), pairs, skipped, once=plan.dedup)
            submit_plan = _counted(submit_plan, skipped)
    return _planned(plan, submit_plan)


def estimate(workflow: Workflow, plan: ReusePlan) -> tuple[JobSpec, bool]:
    """Return the spec as it would be, and whether it is certain. No provider is asked.

    It is not if the results of an earlier job are not kept here: then that job counts as if it had answered all rows.
    """
    certain = True
    with skipped_rows(plan.submit_plan.path, "rw") as skipped:
        for job, pairs in plan.shared:
            if all_kept(job) or job_folder.answers_of(job).lines.exists():
                _take(workflow, job, pairs, skipped, once=plan.dedup)
            else:
                certain = False
                skipped.add((row, THIS_JOB + 1, 0) for row, _ in _read_pairs(pairs) if row not in skipped)
        submit_plan = _counted(plan.submit_plan, skipped)
    return _planned(plan, submit_plan), certain


def _planned(plan: ReusePlan, submit_plan: SubmitPlan) -> JobSpec:
    """Return the spec with the skipped rows left out of its slices."""
    spec, batch_file, limits = plan.spec, plan.spec.batch_file, plan.spec.provider.limits
    if submit_plan.count:
        with batch_file.path.open("rb") as source, skipped_rows(submit_plan.path) as skipped:
            wanted = (row not in skipped for row in range(batch_file.report.requests))
            slices = copy_requests(source, plan.folder, limits, wanted, by_model=limits.one_model)
        batch_file = replace(batch_file, slices=tuple(slices), folder=plan.folder)
    return replace(spec, batch_file=batch_file, submit_plan=submit_plan, earlier=plan.earlier)


def _read_pairs(pairs: Path) -> Iterator[tuple[int, int]]:
    """Yield what `_write_pairs` wrote."""
    with pairs.open(encoding="ascii") as source:
        for line in source:
            row, other = line.split()
            yield int(row), int(other)


def _take(workflow: Workflow, job: JobRecord, pairs: Path, skipped: SkippedRows, *, once: bool) -> None:
    """Use the answers of an earlier job for the rows that have no answer yet."""
    with ExitStack() as stack:
        answer_of = _answers(workflow, job, skipped, stack, once=once)
        skipped.add(
            (row, *answer)
            for row, other in _read_pairs(pairs)
            if row not in skipped and (answer := answer_of(other)) is not None
        )


def _answers(
    workflow: Workflow, job: JobRecord, skipped: SkippedRows, stack: ExitStack, *, once: bool
) -> Callable[[int], tuple[int, int] | None]:
    """Return a function from a row of an ended job to the place of its answer, (file, offset), or None.

    Without `once`, each row needs an answer of its own: then a row that shares another row's answer has none.
    """
    try:
        own_answers = keep_answers(workflow, job)
        path = job_folder.skipped_of(job)
        job_skipped = None if path is None else stack.enter_context(skipped_rows(path))
        names = [] if job_skipped is None else _existing(job_skipped.files())
    except UnknownProviderError:
        raise
    except NotFoundError as exc:
        raise NotFoundError(
            f"job {job.id} answered rows of this input, and its results are no longer available ({exc})",
            hint="--again sends, and pays, every row once more",
        ) from exc
    offsets = stack.enter_context(own_answers.offsets.open("rb"))
    name = job_folder.name_of(own_answers.lines)

    def answer_of(row: int) -> tuple[int, int] | None:
        record = None if job_skipped is None else job_skipped.find(row)
        if record is not None and record.file != THIS_JOB:
            return skipped.number_of(names[record.file - 1]), record.place
        if record is not None and not once:
            return None
        offset = own_answers.offset_of(row if record is None else record.place, offsets)
        return None if offset is None else (skipped.number_of(name), offset)

    return answer_of


def _existing(names: list[str]) -> list[str]:
    """Return these names of files of answers. Raises NotFoundError if one of the files no longer exists."""
    for name in names:
        if not (path := job_folder.answers_named(name)).exists():
            raise NotFoundError(f"{path} is gone")
    return names


def _counted(submit_plan: SubmitPlan, skipped: SkippedRows) -> SubmitPlan:
    """Give repeated rows the earlier answer of their first row, and return the plan with the counts of both kinds."""
    skipped.resolve()
    repeated, answered = skipped.count()
    return replace(submit_plan, repeated=repeated, answered=answered)
