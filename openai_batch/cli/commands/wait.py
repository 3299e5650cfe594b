"""`obatch wait`: wait until jobs have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch.cli.help_format import examples
from openai_batch.cli.job_format import next_command, show_job, show_jobs
from openai_batch.cli.job_options import WaitOptions
from openai_batch.cli.notifying import Notifier
from openai_batch.cli.options import JobsArg, JsonOpt, MaxCostOpt, ProviderOpt, QuietOpt, StrictOpt, dollars, moment
from openai_batch.cli.output import Output, errors
from openai_batch.cli.progress import progress_text
from openai_batch.cli.session import CommandSession, session
from openai_batch.errors import BatchError, IncompleteError, UsageError
from openai_batch.net.time_span import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from openai_batch.jobs.store.records import JobRecord

EPILOG = examples(
    "obatch wait",
    "obatch wait 3 4 --timeout 2h",
    "obatch wait 3 4 --notify bell --notify 'cmd:notify-send \"A job ended\"'",
    "obatch ls -q --status in_progress | xargs obatch wait",
    note="Ctrl-C stops waiting; it never cancels the job.",
)


def wait(
    jobs: JobsArg = None,
    *,
    options: WaitOptions,
    max_cost: MaxCostOpt = None,
    strict: StrictOpt = False,
    provider: ProviderOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Wait until jobs have ended.

    Temporary errors are retried.

    With --strict, the results are downloaded too, to see which answers were refused or cut.

    Parts of a started job that are not sent yet, such as those waiting for the provider's queue, are sent when there is
    room. A job that was never sent is not started.
    """
    from openai_batch.providers.polling import in_time

    output, notifier = Output(as_json=json, quiet=quiet), Notifier(options.notify)
    timeout, by, most = seconds(options.timeout), moment(options.deadline), dollars(max_cost)
    if most is not None and by is None:
        raise UsageError(
            "--max-cost is for --deadline here: what is late is sent again at the full price",
            hint="leave it out; what a job may cost is given when it is started",
        )
    with session(quiet=quiet, busy=True) as current, in_time(timeout):
        found = current.find_all(jobs, provider)
        if by is not None:
            found = [_by_deadline(current, found, by, most, timeout)]
        ends = dict(_ends(current, found, timeout, notifier, strict=strict))
        current.reporter.close()
        waited = [ends[job.id][0] for job in found]
        failed = [error for _, error in (ends[job.id] for job in found) if error]
        if len(found) == 1:
            show_job(output, waited[0])
        elif json:
            show_jobs(output, waited)
        else:
            output.rows([str(job.id)] if quiet else [str(job.id), progress_text(job)] for job in waited)
    if failed:
        # A job that ended with failures counts more than one that still runs.
        raise next((error for error in reversed(failed) if isinstance(error, IncompleteError)), failed[0])
    if not quiet and len(found) == 1:
        job = waited[0]
        command = next_command(job)
        named = job.output_path or job.output_form.get("output")
        errors.hint(command if named or "download" not in command else f"{command} -o results.jsonl")


def _by_deadline(
    current: CommandSession, jobs: list[JobRecord], by: float, most: Decimal | None, timeout: float | None
) -> JobRecord:
    """Wait for a job that must have its answers `by` a time, at a cost of at `most` this or what was given before."""
    from openai_batch.jobs.budget import max_cost_of
    from openai_batch.jobs.deadline import wait_until

    most = max_cost_of(jobs[0]) if most is None else most
    if len(jobs) > 1 or most is None:
        raise UsageError(
            "--deadline is for one job, and needs --max-cost: what is late is sent once more at the full price",
            hint="give the most that the whole job may cost at that price, such as --max-cost 5",
        )
    current.reporter.watch(jobs)
    return wait_until(current.workflow, jobs[0], by, most, timeout=timeout)


def _ends(
    current: CommandSession, jobs: list[JobRecord], timeout: float | None, notifier: Notifier, *, strict: bool
) -> Iterator[tuple[int, tuple[JobRecord, BatchError | None]]]:
    """Wait for jobs; yield the number of each, with the job as it is then and the error to exit with."""
    from openai_batch.jobs.retry import check_answers
    from openai_batch.providers.polling import in_time

    current.reporter.watch(jobs)
    left = {job.id: job for job in jobs}
    for job, failure in current.workflow.wait_all(jobs, timeout=timeout):
        error = failure
        if strict and error is None and not job.incomplete:
            try:
                with in_time(timeout):
                    check_answers(current.workflow, job)
            except BatchError as exc:
                error = exc
        if job.incomplete:
            error = IncompleteError(f"job {job.id} {progress_text(job)}", hint=_next_step(job))
        notifier.tell(current, job)
        del left[job.id]
        current.follow(next(iter(left.values()), job))
        yield job.id, (job, error)


def _next_step(job: JobRecord) -> str:
    """Return what to do about a job that ended without a success for every request."""
    from openai_batch.jobs.advice import advice

    if job.collected and job.answered:
        where = f"the results are in {job.output_path}" if job.output_path else f"`obatch results {job.id}` shows them"
        return f"{where}; `obatch retry {job.id}` retries the requests that may succeed"
    if job.counts.completed or any(part.output_file_id or part.error_file_id for part in job.parts):
        return f"`obatch download {job.id}` collects the results that exist"
    if job.status in ("expired", "cancelled"):
        return f"there is nothing to download; `obatch retry {job.id}` sends the requests again"
    again = "there is nothing to download; to start a new job, add --again to the command that started it"
    return advice(job.faults) or again
