"""`obatch rm`: remove jobs."""

from __future__ import annotations

from typing import Annotated

from openai_batch.cli.freed_format import show_freed
from openai_batch.cli.help_format import examples
from openai_batch.cli.options import DryRunOpt, JobsArg, JsonOpt, QuietOpt, flag
from openai_batch.cli.output import Output
from openai_batch.cli.session import session
from openai_batch.errors import UsageError

EPILOG = examples(
    "obatch rm 3 4",
    "obatch rm 3 --dry-run",
    note="Only jobs that have ended and whose results were collected are removed, and jobs that were never sent. "
    "Batches and\n"
    "files at the provider stay: if the same input is run again, its batches are found there, and are not "
    "paid again.",
)


def rm(
    jobs: JobsArg = None,
    force: Annotated[bool, flag("--force", "Also remove jobs whose results were not collected.")] = False,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Remove ended jobs from the list, and the files kept for them."""
    from openai_batch.jobs.prune import remove

    if not jobs:
        raise UsageError("name the jobs to remove", hint="`obatch ls` shows them")
    with session(quiet=quiet) as current:
        found = current.find_all(jobs, use=False, ask=False)
        freed = [remove(current.workflow, job, force=force, dry_run=dry_run) for job in found]
        show_freed(Output(as_json=json, quiet=quiet), freed, dry_run=dry_run, removed=True)
