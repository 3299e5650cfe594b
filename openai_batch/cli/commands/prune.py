"""`obatch prune`: delete results that are kept with jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from openai_batch.cli.freed_format import show_freed
from openai_batch.cli.options import DryRunOpt, JsonOpt, QuietOpt
from openai_batch.cli.output import Output
from openai_batch.cli.session import session
from openai_batch.net.time_span import seconds

EPILOG = """Examples:

  $ obatch prune --dry-run

  $ obatch prune --older-than 7d

Jobs stay in the list. Results that were not collected are never deleted, nor are answers that other jobs use.
`obatch rm` removes whole jobs."""


def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Only jobs that ended longer ago (12h, 30d).")
    ] = "30d",
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Free space: delete the copies of results kept with old jobs."""
    from openai_batch.jobs.prune import prune as prune_jobs

    with session(quiet=quiet) as current:
        freed = prune_jobs(current.workflow, older_than=seconds(older_than) or 0.0, dry_run=dry_run)
        show_freed(Output(as_json=json, quiet=quiet), freed, dry_run=dry_run)
