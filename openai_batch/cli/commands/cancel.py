"""`obatch cancel`: ask the provider to stop jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from openai_batch.cli.job_format import show_jobs
from openai_batch.cli.options import DryRunOpt, JobsArg, JsonOpt, ProviderOpt, QuietOpt, YesOpt
from openai_batch.cli.output import Output, errors
from openai_batch.cli.progress import progress_text
from openai_batch.cli.session import CommandSession, session
from openai_batch.errors import BatchError, UsageError

if TYPE_CHECKING:
    from openai_batch.jobs.store.records import JobRecord

EPILOG = """Examples:

  $ obatch cancel 3

  $ obatch cancel 3 4 --yes

Requests that have finished are billed, and their results can be downloaded."""


def cancel(
    jobs: JobsArg = None,
    yes: YesOpt = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Also end a job if it is unknown whether its batch was created.")
    ] = False,
    dry_run: DryRunOpt = False,
    provider: ProviderOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Cancel jobs at their provider; if one cannot be cancelled, the others still are."""
    with session(quiet=quiet) as current:
        found = current.find_all(jobs, provider)
        if dry_run:
            for job in found:
                errors.note(f"would cancel job {job.id} ({progress_text(job)})")
            return
        if not yes and (len(found) > 1 or not jobs):
            _ask(", ".join(str(job.id) for job in found))
        failed = _cancel_all(current, found, give_up=give_up)
        current.reporter.close()
        registry = current.workflow.registry
        show_jobs(Output(as_json=json, quiet=quiet), [registry.job(job.id) for job in found])
    for error in failed[:-1]:
        errors.warn(str(error))
    if failed:
        raise failed[-1]


def _cancel_all(current: CommandSession, jobs: list[JobRecord], *, give_up: bool) -> list[BatchError]:
    """Cancel the jobs that have not ended, and return the errors of those that could not be cancelled."""
    from openai_batch.jobs.cancel import cancel as cancel_job

    failed: list[BatchError] = []
    for job in jobs:
        current.follow(job)
        if job.ended:
            current.reporter.note(f"job {job.id} has ended already: {progress_text(job)}")
            continue
        try:
            cancel_job(current.workflow, job, give_up=give_up)
        except BatchError as exc:
            failed.append(exc)
    return failed


def _ask(numbers: str) -> None:
    """Ask for confirmation. Raises UsageError if standard input is not a terminal."""
    if not sys.stdin.isatty():
        message = "several jobs, or a job that is not named, are not cancelled without confirmation"
        raise UsageError(message, hint="name one job, or add --yes")
    typer.confirm(f"Cancel job {numbers}?", abort=True, err=True)
