"""`obatch ls`: the jobs of the registry; nobody is asked."""

from __future__ import annotations

from typing import Annotated

import typer

from openai_batch.cli.job_format import JOB_COLUMNS, job_record
from openai_batch.cli.options import JsonOpt, ProviderOpt, QuietOpt
from openai_batch.cli.output import Output, errors

EPILOG = """Examples:

  $ obatch ls

  $ obatch ls --status in_progress -q

  $ obatch ls --json | jq '.[].batch_ids'

In a pipe: number, name, provider, status, ended requests, requests, model, time, batch ids; tab-separated."""


def register(app: typer.Typer) -> None:
    """Add the command, and its other name."""
    app.command(epilog=EPILOG)(ls)
    app.command("list", hidden=True)(ls)


def ls(
    status: Annotated[
        str | None, typer.Option("--status", metavar="WORDS", help="Only these statuses, separated by commas.")
    ] = None,
    provider: ProviderOpt = None,
    limit: Annotated[int, typer.Option("--limit", help="At most this many, the newest first; 0 for all.")] = 0,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """List the jobs, the newest first, as they were last seen."""
    from openai_batch.jobs.store.registry import Registry

    output = Output(as_json=json, quiet=quiet)
    shown = limit or (50 if output.terminal and not json and not quiet else None)
    wanted = set(status.lower().split(",")) if status else None
    jobs = Registry().jobs(None if wanted else shown, provider)
    if wanted:
        jobs = [job for job in jobs if job.status in wanted][:shown]
    output.listing(
        [job_record(job) for job in jobs],
        JOB_COLUMNS,
        lambda record: str(record["id"]),
        "no such jobs" if wanted or provider else "no jobs yet; `obatch submit FILE` starts one",
    )
    if shown and len(jobs) == shown and not limit:
        errors.note(f"the newest {shown}; --limit 0 shows all")
