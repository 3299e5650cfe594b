"""Submit a job: send the requests that no earlier job has answered, or continue a job that was started before."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, UnreachableError
from openai_batch.providers.attempt import new_token

from .budget import check_submission
from .cancel import withdraw
from .input_name import input_files
from .job_spec import SubmitOptions
from .missing_rows import has_lines_of
from .output_file import check_missing, check_output
from .recover import look_back
from .reuse import ReusePlan, find_reusable, plan_submission
from .store import job_folder
from .store.records import UNSENT, JobRecord, PartRecord, PartState
from .store.registry import OvertakenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openai_batch.providers.port import BatchApi

    from .job_spec import JobSpec
    from .workflow import Workflow


_DEFAULTS = SubmitOptions()


@dataclass(frozen=True, slots=True)
class Submitted:
    """The outcome of a submission."""

    job: JobRecord  # the job, new or started before
    new: bool  # whether the job was created now
    spec: JobSpec  # the spec as planned: without the rows that need not be sent


def preview(workflow: Workflow, spec: JobSpec, folder: Path, options: SubmitOptions) -> ReusePlan:
    """Find the rows of a spec that need not be sent, and check its name and its paths; nothing is sent.

    `folder` is a work folder. Raises OutputExistsError, and RegistryError if another job has the name.
    """
    output = None if options.output is None else str(options.output.absolute())
    earlier = options.reuse and not options.again
    plan = find_reusable(workflow, spec, folder, dedup=options.dedup, earlier=earlier, output=output)
    known = None if options.again else started_before(workflow, spec)
    inputs = [spec.batch_file.origin, *input_files(spec.input_name)]
    if options.output is not None:
        check_output(workflow, options.output, known, plan.earlier, force=options.force, inputs=inputs)
    if options.missing is not None:
        before = known is not None or bool(plan.earlier.used)  # then it may be the file of this job or an earlier one
        own = before and has_lines_of(spec.batch_file.path, options.missing)
        check_missing(options.missing, options.output, inputs, force=options.force or own)
    if known is None:
        workflow.registry.check_name(spec.name, spec.input_name, plan.earlier)
    return plan


def started_before(workflow: Workflow, spec: JobSpec) -> JobRecord | None:
    """Return the job that the same spec has started before, or None."""
    return workflow.registry.by_identity(spec.identity, workflow.account(spec.provider))


def submit(
    workflow: Workflow,
    spec: JobSpec,
    folder: Path,
    options: SubmitOptions,
    on_wait: Callable[[JobRecord | None], None] | None = None,
) -> Submitted:
    """Send the rows of a spec that must be sent, and return its job. `folder` is a work folder.

    It waits for earlier jobs that run rows of the same input: `on_wait` is called with such a job, and with None when
    it has ended. Raises the errors of `preview` before it waits or pays, WaitTimeoutError after `options.timeout`
    seconds, CostError if the job can cost more than `options.max_cost`, and the errors of `start`.
    """
    while True:
        plan = preview(workflow, spec, folder, options)
        known = None if options.again else started_before(workflow, spec)
        if known is not None and job_folder.has_ids(known):
            planned = replace(spec, earlier=plan.earlier)  # its job was planned before
        else:
            planned = plan_submission(workflow, plan, _waiter(workflow, options, on_wait or (lambda _: None)))
        check_submission(workflow, planned, known, options)
        try:
            with _saying_what_was_sent(workflow, planned):
                job, new = start(workflow, planned, options)
        except OvertakenError:
            continue  # another process has just started a job of this input: plan again, with its rows
        return Submitted(_named(workflow, job, spec), new, planned)


def start(workflow: Workflow, spec: JobSpec, options: SubmitOptions = _DEFAULTS) -> tuple[JobRecord, bool]:
    """Start the job of a planned spec, or continue the one that it started before; return it and whether it is new.

    Raises ApiError if the provider refuses the job, AuthError without a key, OvertakenError if another process has
    started a job from the same input, and UncertainError if it is unknown whether an earlier attempt created a batch.
    """
    parts = planned_parts(spec)
    # Without a key, or without the local server, no job is stored.
    workflow.connections.renew(spec.provider).make_ready()
    if options.check_remote or not options.again:
        look_back(workflow, spec, always=options.check_remote)
    skipped = spec.submit_plan.count if spec.submit_plan else 0
    new_job = job_of(spec, workflow.account(spec.provider), skipped)
    with contextlib.ExitStack() as locks:
        unseen = locks.enter_context(contextlib.ExitStack())
        if options.again or started_before(workflow, spec) is None:
            # It is locked before it can be seen, so that another process waits for its files (`reuse`). If another
            # one was faster, so that the job is not stored, its folder is removed.
            unseen.callback(shutil.rmtree, job_folder.folder_of(new_job), ignore_errors=True)
            locks.enter_context(workflow.alone(new_job))
        job, new = workflow.registry.add(new_job, parts, again=options.again, earlier=spec.earlier)
        if new:
            unseen.pop_all()
        if options.output_form is not None:
            workflow.registry.set_job(job.id, output_form=options.output_form)
        if options.max_cost is not None:
            workflow.registry.set_job(job.id, max_cost=str(options.max_cost))
        workflow.registry.touch(job.id)
        if not new:
            asked = None if job.input_sha256 is None else spec.output_expires_after
            if asked is not None and spec.output_seconds != job.output_seconds:
                workflow.reporter.note(
                    f"job {job.id} was started before, and keeps its results as long as it said then"
                )
            locks.enter_context(workflow.alone(job))
            job = _with_missing_parts(workflow, _with_input(workflow, job, spec, skipped), parts)
        if not new and not job_folder.has_ids(job) and all(part.state == PartState.PLANNED for part in job.parts):
            # The first process was killed before it stored the job's files. The plan may differ now: earlier jobs may
            # have more answers.
            job = workflow.registry.plan_again(job, parts, skipped)
        job_folder.keep(job, spec.batch_file, spec.submit_plan)
        return workflow.send_parts(workflow.registry.job(job.id), resubmit_uncertain=options.resubmit_uncertain), new


@contextlib.contextmanager
def _saying_what_was_sent(workflow: Workflow, spec: JobSpec) -> Iterator[None]:
    """Say in the hint of an UnreachableError that nothing was sent, or no batch was created, if that is certain."""
    try:
        yield
    except UnreachableError as exc:
        job = started_before(workflow, spec)
        parts = [] if job is None else job.parts
        if all(part.state in UNSENT for part in parts):
            begun = [part for part in parts if part.state != PartState.PLANNED]
            uploading = len(begun) == 1 and begun[0].state == PartState.UPLOADING
            nothing = not begun or (uploading and not exc.sent)
            exc.hint = f"{'nothing was sent' if nothing else 'no batch was created'}; {exc.hint}"
        raise


def planned_parts(spec: JobSpec) -> list[PartRecord]:
    """Return the parts of a planned spec's new job."""
    return [PartRecord.of(bounds, 0, number) for number, bounds in enumerate(spec.batch_file.slices, 1)]


def missing_parts(job: JobRecord, planned: list[PartRecord]) -> list[PartRecord]:
    """Return the planned parts that a recovered job does not have: they were never sent."""
    known = {part.number for part in job.parts}
    return [replace(part, job=job.id) for part in planned if part.number not in known] if _fits(job, planned) else []


def _fits(job: JobRecord, planned: list[PartRecord], api: BatchApi | None = None) -> bool:
    """Return whether a job was recovered without the places of its parts, and these planned parts are its parts.

    With `api`, the provider is asked for the size of a part's file where the number of its requests is not known.
    """
    known = {part.number: part for part in job.parts}
    return not all(part.sha256 for part in job.parts) and all(
        _is_same_slice(api, known[part.number], part) for part in planned if part.number in known
    )


def job_of(spec: JobSpec, account: str, skipped: int) -> JobRecord:
    """Return the record of a spec's new job at an account, of which `skipped` rows are not sent."""
    batch_file, provider = spec.batch_file, spec.provider
    return JobRecord(
        id=0,
        identity=spec.identity,
        uid=new_token(),
        provider=str(provider.name or provider.base_url),
        base_url=str(provider.base_url),
        account=account,
        endpoint=str(batch_file.report.endpoint),
        window=spec.window or provider.completion_window,
        created_at=time.time(),
        name=spec.name,
        model=batch_file.report.model,
        metadata=spec.metadata,
        input_path=str(batch_file.origin) if batch_file.origin else None,
        input_sha256=batch_file.sha256,
        input_bytes=batch_file.size,
        requests=batch_file.report.requests,
        input_name=spec.input_name,
        skipped=skipped,
        output_seconds=spec.output_seconds,
    )


def _with_input(workflow: Workflow, job: JobRecord, spec: JobSpec, skipped: int) -> JobRecord:
    """Store the facts about the input of a job that was recovered without its input, and return the job."""
    if job.input_sha256 is None:
        batch_file = spec.batch_file
        workflow.registry.set_job(
            job.id,
            input_path=str(batch_file.origin) if batch_file.origin else None,
            input_sha256=batch_file.sha256,
            input_bytes=batch_file.size,
            requests=batch_file.report.requests,
            skipped=job.skipped or skipped,
            output_seconds=spec.output_seconds,
        )
    return workflow.registry.job(job.id)


def _with_missing_parts(workflow: Workflow, job: JobRecord, planned: list[PartRecord]) -> JobRecord:
    """Give a recovered job the places of its parts in the input, and the parts that were never sent."""
    if not _fits(job, planned, workflow.api(job)):
        return job
    known = {part.number: part for part in job.parts}
    for part in planned:
        if part.number in known:
            places = {name: getattr(part, name) for name in ("offset", "length", "source", "first_row", "ids_offset")}
            workflow.registry.set_part(known[part.number], requests=part.requests, sha256=part.sha256, **places)
    workflow.registry.add_parts(job.id, missing_parts(job, planned))
    return workflow.registry.job(job.id)


def _is_same_slice(api: BatchApi | None, found: PartRecord, planned: PartRecord) -> bool:
    """Return whether a part that was found again has the requests of a planned one: its limits may have been others."""
    requests = found.requests or found.counts.total
    if api is None or requests or found.file_id is None:
        return requests in (0, planned.requests)
    # A batch that has just been created often has no counts yet.
    with contextlib.suppress(BatchError):
        return api.file(found.file_id).size in (None, planned.length)
    return True


def _named(workflow: Workflow, job: JobRecord, spec: JobSpec) -> JobRecord:
    """Give a job without a name the name that it is submitted with now, and return the job."""
    if not spec.name or job.name == spec.name:
        return job
    if job.name is not None:
        workflow.reporter.note(f"job {job.id} was started from the same input before, and keeps its name {job.name!r}")
        return job
    workflow.registry.name(job.id, spec.name, spec.input_name)
    return workflow.registry.job(job.id)


def _waiter(
    workflow: Workflow, options: SubmitOptions, on_wait: Callable[[JobRecord | None], None]
) -> Callable[[JobRecord], JobRecord]:
    """Return a function that waits for an earlier job of the same input to end. The job's unsent parts stay unsent.

    The function raises the errors of `Workflow.wait`, and UncertainError if it is unknown whether a part of the job has
    a batch, unless `options.resubmit_uncertain`.
    """

    def ended(job: JobRecord) -> JobRecord:
        on_wait(job)
        if job.waiting:
            workflow.reporter.note(f"the new job sends the requests of this input that job {job.id} has not sent yet")
            job = withdraw(workflow, job, resubmit_uncertain=options.resubmit_uncertain)
        if not job.ended:
            workflow.reporter.note(
                f"job {job.id} is running rows of this input; waiting for it, so that none is paid twice"
            )
            job = workflow.wait(job, timeout=options.timeout)
        on_wait(None)
        return job

    return ended
