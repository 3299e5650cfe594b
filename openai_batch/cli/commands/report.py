"""`obatch report`: show how a job ended, or write that as a page."""

from __future__ import annotations

from typing import Annotated

from openai_batch.cli.help_format import examples
from openai_batch.cli.options import ForceOpt, JobArg, JsonOpt, ProviderOpt, QuietOpt, option
from openai_batch.cli.output import Output, errors
from openai_batch.cli.report_format import report_lines
from openai_batch.cli.session import session
from openai_batch.files.atomic import as_file, check_target

EPILOG = examples(
    "obatch report",
    "obatch report 3 --html report.html",
    "obatch report 3 --json | jq .causes",
    note="The page is one file that needs no network: charts, the causes of failures, and the first 10,000 answers"
    " to search.",
)


def report(
    job: JobArg = None,
    html: Annotated[str | None, option("--html", "FILE", "Write the report as one HTML page instead.")] = None,
    provider: ProviderOpt = None,
    force: ForceOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Show how a job ended: outcomes, failures, tokens and times.

    The job must have ended. Its results are downloaded, unless they are kept here.
    """
    from openai_batch.jobs.output_file import check_ending, check_no_input, inputs_of
    from openai_batch.jobs.report import report as make

    target = None if html is None else as_file(html)
    if target is not None:
        check_ending(target, (".html", ".htm"))
        check_target(target, force=force)
    output = Output(as_json=json, quiet=quiet)
    with session(quiet=quiet, busy=True) as current:
        found = current.ended(job, provider)
        if target is not None:
            check_no_input(target, inputs_of(found))
        made = make(current.workflow, found)
        current.reporter.close()
        if target is not None:
            made.to_html(target, force=force)
        if target is None or json:
            page = None if target is None else str(target)
            output.record(made.record() | {"html": page}, str(found.id), report_lines(made, terminal=output.terminal))
        elif not quiet:
            errors.note(f"the report of job {found.id} is in {target}")
