"""`obatch submit`: a batch file to a running job."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    AgainOpt,
    DryRunOpt,
    JsonOpt,
    MetadataOpt,
    NameOpt,
    ProviderOpt,
    QuietOpt,
    RemoteOpt,
    UncertainOpt,
    WindowOpt,
    pairs,
)
from .output import Output, errors
from .planning import origin_of, say_dry
from .records import job_lines, job_record
from .session import session

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch._inputs import Source
    from openai_batch._order import Order

    from .session import Session

EPILOG = """Examples:

  $ obatch submit input.jsonl

  $ obatch submit input.jsonl --provider parasail --name nightly

  $ obatch submit 'shards/*.jsonl'

  $ obatch prepare prompts.txt -p openai | obatch submit - -q

The same command again goes on with the same job; --again starts a new one."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(submit)


def submit(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Batch input files, sent as one job; - is stdin.")],
    provider: ProviderOpt = None,
    name: NameOpt = None,
    metadata: MetadataOpt = None,
    window: WindowOpt = None,
    again: AgainOpt = False,
    resubmit_uncertain: UncertainOpt = False,
    check_remote: RemoteOpt = False,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Start a batch file's job: check it whole, upload it, create its batch once."""
    from openai_batch._inputs import workspace
    from openai_batch._join import globbed, open_joined
    from openai_batch._order import Earlier
    from openai_batch._reuse import look, settled

    with session(quiet=quiet) as current, workspace() as folder:
        source = open_joined([spoken(file) for file in globbed(files)], folder)
        order = make_order(source, folder, provider, name, metadata, window)
        if dry_run:
            say_dry(current, order)
            return
        order = replace(order, origin=origin_of(files, None, None, None))
        order = settled(current.flow, look(current.flow, order, folder, dedup=False, earlier=False), None)
        job, new = current.flow.submit(
            order, again=again, resubmit_uncertain=resubmit_uncertain, check_remote=check_remote
        )
        if name and job.name is None:
            current.flow.registry.check_name(name, Earlier())
            current.flow.registry.set_job(job.id, name=name)
            job = current.flow.registry.job(job.id)
        current.job = job
        current.reporter.close()
        if not new:
            own = f", and it is called {job.name}" if name and job.name and job.name != name else ""
            current.reporter.note(f"this is job {job.id}, started before{own}; --again starts a new one")
        Output(as_json=json, quiet=quiet).record(job_record(job), str(job.id), job_lines(job))
        if not quiet:
            if job.waiting:
                errors.note(
                    f"{job.waiting} of {len(job.parts)} parts wait for room at the provider; `obatch wait` sends them"
                )
            errors.hint(f"obatch {'download' if job.ended else 'wait'} {job.id}")


def make_order(
    source: Source,
    folder: Path,
    provider: str | None,
    name: str | None,
    metadata: list[str] | None,
    window: str | None,
) -> Order:
    """Check a batch file for its provider and return the order. Raises InputError."""
    from openai_batch._inputs import check_file, first_model
    from openai_batch._order import Order
    from openai_batch.providers import pick_provider

    # A file whose first line names no model is refused by the check, whichever provider's limits it uses.
    chosen = pick_provider(provider, first_model(source) or "gpt")
    checked = check_file(source, chosen.limits, folder)
    for problem in checked.report.problems:
        errors.note(problem.located(source.name))
    return Order(checked, chosen, window, name, pairs(metadata, "--metadata"))


def spoken(file: str) -> str:
    """Say that standard input is awaited where a person may not know."""
    if file == "-" and sys.stdin.isatty():
        errors.note("reading from the terminal; Ctrl-D ends the input")
    return file


def announce(current: Session, new: bool) -> None:
    """Say which job is at work."""
    job = current.job
    if job is not None:
        again = "" if new else ", started before; --again starts a new one"
        ids = job.batch_ids
        what = f"batch {ids[0]}" if len(ids) == 1 else f"{len(ids)} batches"
        if not job.parts:
            what = "nothing to send"
        current.reporter.note(f"job {job.id}: {what} at {job.provider}{again}")
