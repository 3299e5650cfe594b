"""`obatch submit`: start a job with batch files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from openai_batch.cli.help_format import examples
from openai_batch.cli.job_format import show_job
from openai_batch.cli.job_options import JobOptions
from openai_batch.cli.options import DryRunOpt, JsonOpt, ProviderOpt, QuietOpt, argument
from openai_batch.cli.output import Output, errors, note_terminal_input
from openai_batch.cli.session import session
from openai_batch.cli.start import start

if TYPE_CHECKING:
    from openai_batch.jobs.store.records import JobRecord

EPILOG = examples(
    "obatch submit input.jsonl",
    "obatch submit input.jsonl --provider parasail --name nightly",
    "obatch submit 'shards/*.jsonl'",
    "obatch prepare prompts.txt -p openai | obatch submit - -q",
    note="Run the same command again to continue the same job; --again starts a new one.",
)


def submit(
    files: Annotated[list[str], argument("FILE", "Batch input files, sent as one job; - is stdin.")],
    provider: ProviderOpt = None,
    *,
    options: JobOptions,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Start a job with batch files.

    They are checked and uploaded, and each batch is created once. `obatch wait` waits for the end.
    """
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.input_name import name_of_input
    from openai_batch.jobs.make_requests import Requests
    from openai_batch.requests.join import globbed, open_joined

    with session(quiet=quiet, busy="-" not in files) as current, workspace() as folder:
        current.workflow.parallel = options.parallel
        names = globbed(files)
        note_terminal_input(names)
        if "-" not in names:  # else the terminal may be the input
            current.reporter.busy("reading the input")
        source = open_joined(names, folder)
        spec = options.spec(Requests(source, provider), folder, input_name=name_of_input(files))
        started = start(current, spec, folder, options.submit_options(), dry_run=dry_run, as_json=json)
        if started is None:
            return
        current.follow(started.job)
        current.reporter.close()
        if not started.new:
            own = ""
            if options.name not in (None, started.job.name):
                own = f" with the name {started.job.name}" if started.job.name else " without a name"
            current.reporter.note(f"resuming job {started.job.id}{own} (--again would start a new one)")
        show_job(Output(as_json=json, quiet=quiet), started.job)
        if not quiet:
            _show_next(started.job)


def _show_next(job: JobRecord) -> None:
    """Say which parts are not sent yet, and the next command."""
    if job.waiting:
        parts = f"{job.waiting} of {len(job.parts)} parts waiting" if len(job.parts) > 1 else "the job is waiting"
        errors.note(f"{parts}: the provider's queue is full; `obatch wait` sends them when there is room")
    errors.hint(f"obatch {'download' if job.ended else 'wait'} {job.id}")
