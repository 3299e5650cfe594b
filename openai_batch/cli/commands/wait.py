"""`obatch wait`: follow jobs to their end."""

from __future__ import annotations

import time

import typer

from openai_batch.cli.job_format import job_lines, job_record
from openai_batch.cli.options import JobsArg, JsonOpt, ProviderOpt, QuietOpt, TimeoutOpt, seconds
from openai_batch.cli.output import Output, errors
from openai_batch.cli.progress import standing
from openai_batch.cli.session import session
from openai_batch.errors import BatchError, IncompleteError, WaitTimeoutError

EPILOG = """Examples:

  $ obatch wait

  $ obatch wait 3 4 --timeout 2h

  $ obatch ls -q --status in_progress | xargs obatch wait

Ctrl-C stops the waiting, never the job."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(wait)


def wait(
    jobs: JobsArg = None,
    timeout: TimeoutOpt = None,
    provider: ProviderOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Wait until jobs have ended; errors that pass are waited out."""
    limit = seconds(timeout)
    deadline = None if limit is None else time.monotonic() + limit
    output = Output(as_json=json, quiet=quiet)
    worst: BatchError | None = None
    records = []
    with session(quiet=quiet) as current:
        found = [current.find(reference, provider) for reference in (jobs or (None,))]
        for job in found:
            current.job = job
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                job = current.workflow.wait(job, timeout=left)  # noqa: PLW2901 - the same job, later
            except WaitTimeoutError as exc:
                worst = worst or exc
                job = current.workflow.registry.job(job.id)  # noqa: PLW2901
            records.append(job_record(job))
            if len(found) == 1:
                current.reporter.close()
                output.record(job_record(job), str(job.id), job_lines(job))
            elif not json:
                output.lines([str(job.id)] if quiet else [f"{job.id}\t{standing(job)}"])
            if job.ended and (job.status != "completed" or job.counts.failed):
                worst = IncompleteError(
                    f"job {job.id} {standing(job)}", hint=f"obatch download {job.id} collects what exists"
                )
        if json and len(found) != 1:
            output.listing(records, [], lambda r: str(r["id"]), "")
    if worst is not None:
        raise worst
    if not quiet and len(found) == 1:
        errors.hint(f"obatch download {found[0].id} -o results.jsonl")
