"""`obatch status`: show the status of one job."""

from __future__ import annotations

import sys
from typing import Annotated

from openai_batch.cli.help_format import examples
from openai_batch.cli.job_format import next_command, show_job
from openai_batch.cli.options import JobArg, JsonOpt, ProviderOpt, QuietOpt, flag
from openai_batch.cli.output import Output, errors
from openai_batch.cli.session import session
from openai_batch.errors import IncompleteError, count_text

EPILOG = examples(
    "obatch status",
    "obatch status 3 --json",
    "obatch status batch_abc123 -p openai",
)


def status(
    job: JobArg = None,
    provider: ProviderOpt = None,
    offline: Annotated[bool, flag("--offline", "Show the status as last seen; do not contact the provider.")] = False,
    exit_code: Annotated[
        bool, flag("--exit-code", "Exit with 5 if the job ended and some requests did not succeed.")
    ] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Show the status of a job. A batch that was created elsewhere is added by its id."""
    from openai_batch.jobs.provider_files import ask_expiry

    with session(quiet=quiet or not sys.stderr.isatty(), busy=not offline) as current:
        found = current.find(job, provider, ask=not offline)
        if not offline and not found.ended:
            found = current.workflow.refresh(found)
        if not offline and found.ended:
            found = ask_expiry(current.workflow, found)
        current.reporter.close()
        show_job(Output(as_json=json, quiet=quiet), found, quiet=found.status)
        if exit_code and found.incomplete:
            failed = count_text(found.counts.failed, "request")
            raise IncompleteError(f"job {found.id} {found.status}, {failed} failed", hint=next_command(found))
        if not json and not quiet:
            errors.hint(next_command(found))
