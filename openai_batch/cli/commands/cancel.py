"""`obatch cancel`: ask a provider to stop jobs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from openai_batch.cli.job_format import JOB_COLUMNS, job_record
from openai_batch.cli.options import DryRunOpt, JobsArg, JsonOpt, ProviderOpt, QuietOpt, YesOpt
from openai_batch.cli.output import Output, errors
from openai_batch.cli.progress import standing
from openai_batch.cli.session import session
from openai_batch.errors import BatchError, UsageError

EPILOG = """Examples:

  $ obatch cancel 3

  $ obatch cancel 3 4 --yes

What a batch has finished is kept, is billed, and can be downloaded."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(cancel)


def cancel(
    jobs: JobsArg = None,
    yes: YesOpt = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Also end a job of which it is unknown whether a batch was created.")
    ] = False,
    dry_run: DryRunOpt = False,
    provider: ProviderOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Cancel jobs at their provider; one that cannot be does not keep the others running."""
    from openai_batch.jobs.cancel import cancel as stop

    with session(quiet=quiet) as current:
        found = [current.find(reference, provider) for reference in (jobs or (None,))]
        if dry_run:
            for job in found:
                errors.note(f"would cancel job {job.id} ({standing(job)})")
            return
        if not yes and (len(found) > 1 or not jobs):
            _ask(", ".join(str(job.id) for job in found))
        records = []
        failed: list[BatchError] = []
        for job in found:
            current.job = job
            if job.ended:
                current.reporter.note(f"job {job.id} has ended already: {standing(job)}")
            else:
                try:
                    stop(current.workflow, job, give_up=give_up)
                except BatchError as exc:
                    failed.append(exc)
            records.append(job_record(current.workflow.registry.job(job.id)))
        current.reporter.close()
        Output(as_json=json, quiet=quiet).listing(records, JOB_COLUMNS, lambda r: str(r["id"]), "")
    for error in failed[:-1]:
        errors.warn(str(error))
    if failed:
        raise failed[-1]


def _ask(numbers: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("will not cancel without being told so", hint="name one job, or add --yes")
    typer.confirm(f"Cancel job {numbers}?", abort=True, err=True)
