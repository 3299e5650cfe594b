"""`obatch ls`: list the jobs of the registry. No provider is asked.

The columns of the table, of the pipe and of `--json` are in `cli/job_format.py`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from openai_batch.cli.job_format import show_jobs
from openai_batch.cli.options import JsonOpt, ProviderOpt, QuietOpt
from openai_batch.cli.output import Output, errors

EPILOG = """Examples:

  $ obatch ls

  $ obatch ls --status in_progress -q

  $ obatch ls --json | jq '.[].batch_ids'

Columns in a pipe, separated by tabs: number, name, provider, status, ended requests, all requests, model, time of \
creation, batch ids."""


def ls(
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="WORDS", help="Only jobs with these statuses, separated by commas."),
    ] = None,
    provider: ProviderOpt = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="Show at most this many jobs; 0 shows all.")] = 0,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """List the jobs, newest first, as last seen."""
    from openai_batch.jobs.store.registry import Registry

    output = Output(as_json=json, quiet=quiet)
    shown = limit or (50 if output.terminal and not json and not quiet else None)
    wanted = set(status.lower().split(",")) if status else None
    jobs = Registry().jobs(None if wanted else shown, provider)
    if wanted:
        jobs = [job for job in jobs if job.status in wanted][:shown]
    show_jobs(output, jobs, "no such jobs" if wanted or provider else "no jobs yet; `obatch submit FILE` starts one")
    if shown and len(jobs) == shown and not limit:
        errors.note(f"these are the newest {shown}; --limit 0 shows all")
