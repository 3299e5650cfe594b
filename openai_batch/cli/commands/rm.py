"""`obatch rm`: remove jobs."""

from __future__ import annotations

from typing import Annotated

from openai_batch.cli.freed_format import show_freed
from openai_batch.cli.help_format import examples
from openai_batch.cli.options import DryRunOpt, JsonOpt, QuietOpt, argument, complete, flag
from openai_batch.cli.output import Output
from openai_batch.cli.session import raise_last, session
from openai_batch.errors import BatchError, UsageError

EPILOG = examples(
    "obatch rm 3 4",
    "obatch rm 3 --dry-run",
    note="Only jobs that have ended and whose results were collected are removed, and jobs that were never sent. "
    "Batches and\n"
    "files at the provider stay: if the same input is run again, its batches are found there, and are not "
    "paid again.",
)


def rm(
    jobs: Annotated[
        list[str] | None,
        argument("JOB", "Numbers, names or batch ids of the jobs to remove.", autocompletion=complete("jobs")),
    ] = None,
    force: Annotated[bool, flag("--force", "Also remove jobs whose results were not collected.")] = False,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Remove ended jobs from the list, and the files kept for them.

    If one cannot be removed, the others still are.
    """
    from openai_batch.jobs.prune import Freed, remove

    if not jobs:
        raise UsageError("name the jobs to remove", hint="`obatch ls` shows them")
    with session(quiet=quiet) as current:
        freed: list[Freed] = []
        failed: list[BatchError] = []
        # A later job may use answers of an earlier one, so it is removed first.
        for job in sorted(current.find_all(jobs, use=False, ask=False), key=lambda job: job.id, reverse=True):
            gone = [each.job.id for each in freed]
            try:
                freed.append(remove(current.workflow, job, force=force, dry_run=dry_run, gone=gone))
            except BatchError as exc:
                failed.append(exc)
        if freed or not failed:
            show_freed(Output(as_json=json, quiet=quiet), freed, dry_run=dry_run, removed=True)
    raise_last(failed)
