"""`obatch prune`: delete results that are kept with jobs, or the files of jobs at their providers."""

from __future__ import annotations

from typing import Annotated

from openai_batch.cli.freed_format import show_deleted, show_freed
from openai_batch.cli.help_format import MAIN, examples
from openai_batch.cli.options import DryRunOpt, JsonOpt, QuietOpt, argument, complete, flag, option
from openai_batch.cli.output import Output
from openai_batch.cli.session import raise_last, session
from openai_batch.errors import BatchError, UsageError
from openai_batch.net.time_span import seconds

EPILOG = examples(
    "obatch prune --dry-run",
    "obatch prune --older-than 7d",
    "obatch prune --remote 3 --dry-run",
    note="Jobs stay in the list. Results that were not collected are never deleted, nor are answers that other "
    "jobs use.\n"
    "With --remote, the copies kept here stay, and become the only ones. `obatch rm` removes whole jobs.",
)


def prune(
    jobs: Annotated[
        list[str] | None,
        argument(
            "JOB", "With --remote, only these jobs: numbers, names or batch ids.", autocompletion=complete("jobs")
        ),
    ] = None,
    older_than: Annotated[
        str | None, option("--older-than", "TIME", "Only jobs that ended longer ago (12h, 30d). [default: 30d]")
    ] = None,
    remote: Annotated[
        bool,
        flag("--remote", "Delete the files at the provider instead: input, results and errors of these jobs.", MAIN),
    ] = False,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Free space: delete the copies of results kept with old jobs.

    With --remote, delete what providers keep: of the jobs that are named, or of all old ones.
    """
    from openai_batch.jobs.delete_remote import Deleted, delete_old, delete_remote
    from openai_batch.jobs.prune import prune as prune_jobs

    if jobs and not remote:
        raise UsageError("a JOB goes with --remote only", hint="`obatch rm JOB` removes a job and its copies")
    if jobs and older_than is not None:
        raise UsageError("--older-than cannot be used with a JOB", hint="leave out one of them")
    age, output = seconds("30d" if older_than is None else older_than) or 0.0, Output(as_json=json, quiet=quiet)
    with session(quiet=quiet) as current:
        if jobs:
            deleted: list[Deleted] = []
            failed: list[BatchError] = []
            for job in current.find_all(jobs):
                try:
                    deleted.append(delete_remote(current.workflow, job, dry_run=dry_run))
                except BatchError as exc:
                    failed.append(exc)
            if deleted or not failed:
                show_deleted(output, deleted, dry_run=dry_run)
            raise_last(failed)
        elif remote:
            show_deleted(output, delete_old(current.workflow, older_than=age, dry_run=dry_run), dry_run=dry_run)
        else:
            show_freed(output, prune_jobs(current.workflow, older_than=age, dry_run=dry_run), dry_run=dry_run)
