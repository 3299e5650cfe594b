"""`obatch submit`: start the job of a batch file."""

from __future__ import annotations

from typing import Annotated

import typer

from openai_batch.cli.announce import awaited, say_dry
from openai_batch.cli.job_format import job_lines, job_record
from openai_batch.cli.job_options import JobOptions
from openai_batch.cli.option_groups import with_groups
from openai_batch.cli.options import DryRunOpt, JsonOpt, ProviderOpt, QuietOpt
from openai_batch.cli.output import Output, errors
from openai_batch.cli.session import CommandSession, session

EPILOG = """Examples:

  $ obatch submit input.jsonl

  $ obatch submit input.jsonl --provider parasail --name nightly

  $ obatch submit 'shards/*.jsonl'

  $ obatch prepare prompts.txt -p openai | obatch submit - -q

The same command again goes on with the same job; --again starts a new one."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(with_groups(submit))


def submit(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Batch input files, sent as one job; - is stdin.")],
    provider: ProviderOpt = None,
    *,
    options: JobOptions,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Start a batch file's job: check it whole, upload it, create its batch once."""
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.job_spec import name_of_input
    from openai_batch.jobs.make_requests import Requests
    from openai_batch.jobs.submit import submit as start
    from openai_batch.requests.join import globbed, open_joined

    with session(quiet=quiet) as current, workspace() as folder:
        source = open_joined([awaited(file) for file in globbed(files)], folder)
        spec = options.spec(Requests(source, provider), folder, input_name=name_of_input(files))
        if dry_run:
            say_dry(current, spec)
            return
        started = start(current.workflow, spec, folder, options.submit_options(), current.follow)
        current.follow(started.job)
        current.reporter.close()
        if not started.new:
            own = f", and it is called {started.job.name}" if options.name not in (None, started.job.name) else ""
            current.reporter.note(f"this is job {started.job.id}, started before{own}; --again starts a new one")
        _show(current, as_json=json, quiet=quiet)


def _show(current: CommandSession, *, as_json: bool, quiet: bool) -> None:
    job = current.job
    if job is None:
        return
    Output(as_json=as_json, quiet=quiet).record(job_record(job), str(job.id), job_lines(job))
    if not quiet:
        if job.waiting:
            errors.note(
                f"{job.waiting} of {len(job.parts)} parts wait for room at the provider; `obatch wait` sends them"
            )
        errors.hint(f"obatch {'download' if job.ended else 'wait'} {job.id}")
