"""Plan which requests of a spec need not be sent: identical ones, and those that an earlier job has answered.

An earlier job is one with the same input, which may have grown or changed since, or with the same output. Any number of
them are compared, by the fingerprints in their folders. Such a job must have ended before its answers are taken, so
that nothing is paid twice. They are then stored in its folder (`reused_answers.AnswerFile`), since providers delete
them after a time.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING

from openai_batch.errors import NotFoundError, UnknownProviderError
from openai_batch.requests.fingerprints import Wanted, repeats
from openai_batch.requests.row_set import RowSet
from openai_batch.requests.split import copy_requests

from .collect import keep_answers
from .provider_files import all_kept
from .recover import recover_lost
from .store import job_folder
from .store.records import EarlierJobs
from .store.reused_answers import THIS_JOB, AnswerFile, AnswerReader, SkippedTable, SubmitPlan, skipped_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .job_spec import JobSpec
    from .store.records import JobRecord
    from .workflow import Workflow


@dataclass(slots=True)
class ReusePlan:
    """Which rows of a spec need not be sent, according to files on this machine; no provider was asked."""

    spec: JobSpec
    submit_plan: SubmitPlan  # contains the repeated rows only; `plan_submission` adds those with an earlier answer
    dedup: bool  # whether identical requests are sent once
    folder: Path  # a work folder
    earlier: EarlierJobs = field(default_factory=EarlierJobs)  # the earlier jobs that share rows with the spec
    common: int = 0  # how many rows of the spec are in an earlier job too; repeated rows do not count
    shared: list[tuple[JobRecord, Path]] = field(default_factory=list)  # each such job, and its file of pairs


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
            skipped.add((row, 1, THIS_JOB, first) for row, first in repeats(submit_plan.keys, folder))
        plan = ReusePlan(spec, replace(submit_plan, repeated=skipped.count()[0]), dedup, folder)
        if earlier:
            recover_lost(workflow, spec.provider)
            _compare(workflow, plan, skipped, output)
    return plan


def _compare(workflow: Workflow, plan: ReusePlan, skipped: SkippedTable, output: str | None) -> None:
    """Find the jobs that share rows with a spec, the newest first."""
    spec, rows = plan.spec, plan.spec.batch_file.report.requests
    account, endpoint = workflow.account(spec.provider), spec.batch_file.report.endpoint
    earlier = workflow.registry.earlier(account, spec.input_name, endpoint, output=output, name=spec.name)
    used, grown = set(), set()
    search = _Search(workflow, plan, skipped)
    for number, uid, whole in earlier:
        if (keys := job_folder.keys_of(uid)) is None:
            _stored(workflow, number)
            keys = job_folder.keys_of(uid)
        pairs = iter(()) if keys is None else search.pairs(keys, whole=whole)
        if (first := next(pairs, None)) is None:
            continue
        job = _stored(workflow, number)
        if job.identity == spec.identity:
            continue
        used.add(number)
        if search.keep(job, chain((first,), pairs)) == job.requests <= rows:
            grown.add(number)
    plan.earlier = EarlierJobs(frozenset(used), frozenset(grown), max((each[0] for each in earlier), default=0))


def _stored(workflow: Workflow, number: int) -> JobRecord:
    """Return a job; if another process is storing its files now, when that is done."""
    job = workflow.registry.job(number)
    if job.busy and not job_folder.has_ids(job):
        with workflow.alone(job):
            pass
    return job


class _Search:
    """Looks for the rows of a spec in earlier jobs, the newest first, until one is known to have their answers."""

    def __init__(self, workflow: Workflow, plan: ReusePlan, skipped: SkippedTable) -> None:
        self._workflow = workflow
        self._plan = plan
        self._skipped = skipped
        self._seen = RowSet()  # rows that an earlier job has
        self._found = RowSet()  # rows that need no other job: repeats, and those that have an answer here
        for record in skipped:
            self._found.add(record.row, record.length)
        self._fresh = 0  # how many of those are still to be found
        self._last: tuple[JobRecord, Path] | None = None  # the last job with shared rows, and its file of pairs

    def pairs(self, keys: Path, *, whole: bool) -> Iterator[tuple[int, int, int]]:
        """Yield (row, row of the other job, count) for the requests of a job that are looked for.

        If `whole`, these are all that are here.

        `keys` are those of the other job.
        """
        if self._last is not None:
            self._look_for_answers(*self._last)
        wanted = self._whole if whole else self._wanted
        return wanted.pairs(keys, once=self._plan.dedup) if wanted.count else iter(())

    def keep(self, job: JobRecord, pairs: Iterator[tuple[int, int, int]]) -> int:
        """Write the pairs of a job to a file, and return how many rows they have."""
        path, count = self._plan.folder / f"pairs-{job.id}", 0
        with path.open("w", encoding="ascii", newline="") as out:
            for row, other, number in pairs:
                count += number
                out.write(f"{row} {other} {number}\n")
                self._seen.add(row, number)
        self._plan.common = len(self._seen)
        self._last = job, path
        self._plan.shared.append(self._last)
        return count

    @cached_property
    def _whole(self) -> Wanted:
        return self._looking("whole", self._skipped.rows)

    @cached_property
    def _wanted(self) -> Wanted:
        return self._whole

    def _looking(self, name: str, without: RowSet) -> Wanted:
        return Wanted(self._plan.submit_plan.keys, self._plan.folder / name, without, self._skipped.repeated)

    def _look_for_answers(self, job: JobRecord, pairs: Path) -> None:
        """Stop searching for the rows that a job has an answer for, if its results are kept here.

        Without `dedup`, each row needs its own answer, and all rows are searched for in all jobs.
        """
        self._last = None
        if not self._plan.dedup or not _is_kept(job):
            return
        with suppress(NotFoundError), ExitStack() as stack:
            answers = _answers(self._workflow, job, self._skipped, stack, once=True)
            for row, other, count in _lacking(self._found, pairs):
                for first, number, *_ in answers(other, count):
                    self._found.add(row + first - other, number)
                    self._fresh += number
        if self._fresh * 2 >= self._wanted.count:
            self._wanted = self._looking("wanted", self._found)
            self._fresh = 0


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
                if any(_lacking(skipped.rows, pairs)):
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
            if not any(_lacking(skipped.rows, pairs)):
                continue
            if _is_kept(job):
                _take(workflow, job, pairs, skipped, once=plan.dedup)
            else:
                certain = False
                skipped.add((row, count, THIS_JOB + 1, 0) for row, _, count in _lacking(skipped.rows, pairs))
        submit_plan = _counted(plan.submit_plan, skipped)
    return _planned(plan, submit_plan), certain


def _is_kept(job: JobRecord) -> bool:
    """Return whether the answers of a job's own batches can be read without its provider."""
    return all_kept(job) or job_folder.answers_of(job).lines.exists()


def _planned(plan: ReusePlan, submit_plan: SubmitPlan) -> JobSpec:
    """Return the spec with the skipped rows left out of its slices."""
    spec, batch_file, limits = plan.spec, plan.spec.batch_file, plan.spec.provider.limits
    if submit_plan.count:
        with batch_file.path.open("rb") as source, skipped_rows(submit_plan.path) as skipped:
            wanted = chain.from_iterable(_sent(skipped, batch_file.report.requests))
            slices = copy_requests(source, plan.folder, limits, wanted, by_model=limits.one_model)
        batch_file = replace(batch_file, slices=tuple(slices), folder=plan.folder)
    return replace(spec, batch_file=batch_file, submit_plan=submit_plan, earlier=plan.earlier)


def _sent(skipped: SkippedTable, requests: int) -> Iterator[Iterator[bool]]:
    """Yield whether each row is sent: one iterator for each range of rows."""
    done = 0
    for rows in skipped:
        yield repeat(True, rows.row - done)
        yield repeat(False, rows.length)
        done = rows.row + rows.length
    yield repeat(True, requests - done)


def _lacking(rows: RowSet, pairs: Path) -> Iterator[tuple[int, int, int]]:
    """Yield the pairs that `_Search.keep` wrote, without those whose row is in `rows` then."""
    with pairs.open(encoding="ascii") as source:
        for line in source:
            row, other, count = map(int, line.split())
            for first, number in rows.lacking(row, count):
                yield first, other + first - row, number


def _take(workflow: Workflow, job: JobRecord, pairs: Path, skipped: SkippedTable, *, once: bool) -> None:
    """Use the answers of an earlier job for the rows that have no answer yet."""
    with ExitStack() as stack:
        answers = _answers(workflow, job, skipped, stack, once=once)
        skipped.add(
            (row + first - other, number, file, place)
            for row, other, count in _lacking(skipped.rows, pairs)
            for first, number, file, place in answers(other, count)
        )


def _answers(
    workflow: Workflow, job: JobRecord, skipped: SkippedTable, stack: ExitStack, *, once: bool
) -> Callable[[int, int], Iterator[tuple[int, int, int, int]]]:
    """Return a function that yields the answers to `count` rows from `row` on of an ended job.

    It yields (row, length, file, place), where the last three are those of `SkippedRows`. Without `once`, each row
    needs an answer of its own: then a row that shares another row's answer has none.
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
            hint="--again sends every row again, and you pay for them again",
        ) from exc
    own = stack.enter_context(AnswerReader(own_answers))
    name = job_folder.name_of(own_answers.lines)

    def own_ranges(row: int, count: int, shift: int = 0) -> Iterator[tuple[int, int, int, int]]:
        for first, number in own.ranges(row, count):
            yield first + shift, number, skipped.number_of(name), first

    def answers(row: int, count: int) -> Iterator[tuple[int, int, int, int]]:
        done = row
        for rows in () if job_skipped is None else job_skipped.among(row, count):
            yield from own_ranges(done, rows.row - done)
            if rows.file != THIS_JOB:
                yield rows.row, rows.length, skipped.number_of(names[rows.file - 1]), rows.place
            elif once:
                yield from own_ranges(rows.place, 1, rows.row - rows.place)
            done = rows.row + rows.length
        yield from own_ranges(done, row + count - done)

    return answers


def _existing(names: list[str]) -> list[str]:
    """Return these names of files of answers. Raises NotFoundError if one of the files or its index is gone."""
    for name in names:
        answers = AnswerFile(job_folder.answers_named(name))
        for path in (answers.lines, answers.index):
            if not path.exists():
                raise NotFoundError(f"{path} is gone")
    return names


def _counted(submit_plan: SubmitPlan, skipped: SkippedTable) -> SubmitPlan:
    """Give repeated rows the earlier answer of their first row, and return the plan with the counts of both kinds."""
    skipped.resolve()
    repeated, answered = skipped.count()
    return replace(submit_plan, repeated=repeated, answered=answered)
