"""`obatch cancel`: ask the provider to stop jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from openai_batch.cli.help_format import examples
from openai_batch.cli.job_format import job_record, next_command, show_jobs
from openai_batch.cli.options import DryRunOpt, JobsArg, JsonOpt, ProviderOpt, QuietOpt, flag
from openai_batch.cli.output import Output, errors
from openai_batch.cli.progress import progress_text
from openai_batch.cli.session import CommandSession, raise_last, session
from openai_batch.cli.table import Column
from openai_batch.errors import BatchError, UsageError, count_text
from openai_batch.escapes import escape_newlines

if TYPE_CHECKING:
    from openai_batch.jobs.store.records import JobRecord

EPILOG = examples(
    "obatch cancel 3",
    "obatch cancel 3 4 --yes",
    note="Requests that have finished are billed, and their results can be downloaded.",
)


# The columns of a dry run.
PLAN_COLUMNS = (
    Column.of("job", "id", str),
    Column.of("would", "would", str),
    Column.of("because", "because", str, wrap=True),
)


def cancel(
    jobs: JobsArg = None,
    yes: Annotated[bool, flag("--yes -y", "Do not ask for confirmation.")] = False,
    give_up: Annotated[
        bool, flag("--give-up", "Also end a job if it is unknown whether its batch was created.")
    ] = False,
    dry_run: DryRunOpt = False,
    provider: ProviderOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Cancel jobs at their provider.

    If one cannot be cancelled, the others still are.
    """
    output = Output(as_json=json, quiet=quiet)
    with session(quiet=quiet, busy=True) as current:
        found = current.find_all(jobs, provider, use=not dry_run, ask=not dry_run)
        current.reporter.close()  # a question or data may follow
        if dry_run:
            plans = [
                job_record(job) | dict(zip(("would", "because"), _plan(job, give_up), strict=True)) for job in found
            ]
            output.listing(plans, PLAN_COLUMNS, "id", "")
            return
        running = [job for job in found if not job.ended]
        if not yes and running and (len(running) > 1 or not jobs):
            _ask(running)
        current.reporter.busy("asking the provider to cancel")
        failed = _cancel_all(current, found, give_up=give_up)
        current.reporter.close()
        after = [current.workflow.registry.job(job.id) for job in found]
        show_jobs(output, after)
        if len(after) == 1 and after[0].batch_ids and not (json or quiet or failed):
            errors.hint(next_command(after[0]))
    raise_last(failed)


def _cancel_all(current: CommandSession, jobs: list[JobRecord], *, give_up: bool) -> list[BatchError]:
    """Cancel the jobs that have not ended, and return the errors of those that could not be cancelled."""
    from openai_batch.jobs.cancel import cancel as cancel_job
    from openai_batch.jobs.store.records import WITHDRAWN

    failed: list[BatchError] = []
    for job in jobs:
        current.follow(job)
        if job.ended:
            current.reporter.note(f"job {job.id} has ended already: {progress_text(job)}")
            continue
        try:
            ended = cancel_job(current.workflow, job, give_up=give_up)
        except BatchError as exc:
            failed.append(exc)
        else:
            if ended.status == WITHDRAWN:
                current.reporter.note(f"job {job.id} is withdrawn; {_nothing_sent(ended)}")
    return failed


def _plan(job: JobRecord, give_up: bool) -> tuple[str, str]:
    """Return what cancelling a job would do (nothing, search, cancel or withdraw), and a text with the reason."""
    from openai_batch.jobs.store.records import PartState

    if job.ended:
        return "nothing", f"it has ended already: {progress_text(job)}"
    if any(part.state == PartState.CREATING for part in job.parts):
        ends = ", and without one the job would end" if give_up else ""
        return "search", f"it is unknown whether a batch was created; a batch that is found would be cancelled{ends}"
    if not job.batch_ids:
        return "withdraw", _nothing_sent(job)
    return "cancel", progress_text(job)


def _nothing_sent(job: JobRecord) -> str:
    uploaded = any(part.file_id for part in job.parts)
    return "its file was uploaded, but no batch was created" if uploaded else "nothing had been sent"


def _ask(jobs: list[JobRecord]) -> None:
    """Ask for confirmation. Raises UsageError if standard input is not a terminal."""
    if not sys.stdin.isatty():
        message = "cancelling several jobs, or a job that you did not name, needs confirmation"
        raise UsageError(message, hint="name one job, or add --yes")
    names = ", ".join(f"{job.id} ({job.name})" if job.name else str(job.id) for job in jobs)
    typer.confirm(escape_newlines(f"Cancel {count_text(len(jobs), 'job')}: {names}?"), abort=True, err=True)
