"""`obatch download`: a job's results, checked and in input order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openai_batch.errors import BatchError

from .options import (
    AsOpt,
    FieldsOpt,
    ForceOpt,
    InertOpt,
    JobArg,
    JsonOpt,
    MissingOpt,
    OutputOpt,
    ProviderOpt,
    QuietOpt,
)
from .output import Output, errors
from .results import conclude, deliver, make_export
from .session import Session, session

if TYPE_CHECKING:
    from openai_batch._jobs import Job

EPILOG = """Examples:

  $ obatch download -o results.jsonl

  $ obatch download -o results.csv --fields

  $ obatch download 3 -o - | jq .custom_id

  $ obatch download 3 --raw results/"""


_ENDINGS = {"csv": ".csv", "parquet": ".parquet"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(download)


def download(
    job: JobArg = None,
    output: OutputOpt = None,
    raw: Annotated[
        str | None, typer.Option("--raw", metavar="FOLDER", help="Fetch the provider's own files, byte for byte.")
    ] = None,
    form: AsOpt = None,
    fields: FieldsOpt = False,
    inert: InertOpt = True,
    missing: MissingOpt = None,
    provider: ProviderOpt = None,
    force: ForceOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Fetch a job's results: one line a request, in input order; whatever its end, what exists is collected.

    Without -o they go to where they went before, or to `job-N.results.jsonl`.
    """
    from openai_batch._collect import fetch_raw

    with session(quiet=quiet) as current:
        found = ended(current, job, provider)
        if raw is not None:
            paths = fetch_raw(current.flow, found, Path(raw).expanduser(), force=force)
            current.reporter.close()
            Output().lines(str(path) for path in paths)
            if not paths:
                errors.note(f"job {found.id} {found.status}: it left no files")
            return
        name = output or found.output_path or f"job-{found.id}.results{_ENDINGS.get(form or '', '.jsonl')}"
        export = make_export(name, form, fields=fields, inert=inert)
        target = sys.stdout.buffer if name == "-" else Path(name).expanduser()
        collected = deliver(current, found, target, force=force, missing=missing, export=export)
        conclude(collected, as_json=json and output != "-", quiet=quiet)


def ended(current: Session, reference: str | None, provider: str | None) -> Job:
    """Return the job that a user means, if it has ended; its provider is asked. Raises BatchError otherwise."""
    found = current.find(reference, provider)
    if not found.ended:
        found = current.flow.refresh(current.flow.advance(found))
    if not found.ended:
        raise BatchError(f"job {found.id} is still {found.status}", hint=f"obatch wait {found.id}")
    return found
