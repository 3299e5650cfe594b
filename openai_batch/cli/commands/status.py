"""`obatch status`: how one job stands."""

from __future__ import annotations

from typing import Annotated

import typer

from openai_batch.cli.job_format import job_lines, job_record
from openai_batch.cli.options import JobArg, JsonOpt, ProviderOpt, QuietOpt
from openai_batch.cli.output import Output, counted
from openai_batch.cli.session import session
from openai_batch.errors import IncompleteError

EPILOG = """Examples:

  $ obatch status

  $ obatch status 3 --json

  $ obatch status batch_abc123 -p openai"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(status)


def status(
    job: JobArg = None,
    provider: ProviderOpt = None,
    offline: Annotated[bool, typer.Option("--offline", help="Tell what was last seen; ask nobody.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 5 if the job ended without a success for every request.")
    ] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Show how a job stands. A batch made elsewhere is taken in by its id."""
    with session(quiet=True) as current:
        found = current.find(job, provider)
        if not offline and not found.ended:
            found = current.workflow.refresh(found)
        Output(as_json=json, quiet=quiet).record(job_record(found), found.status, job_lines(found))
        if exit_code and found.ended and (found.status != "completed" or found.counts.failed):
            raise IncompleteError(f"job {found.id} {found.status}, {counted(found.counts.failed, 'request')} failed")
