"""`obatch download`: a job's results, checked and in input order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from openai_batch.errors import BatchError

from .options import ForceOpt, JobArg, JsonOpt, MissingOpt, OutputOpt, ProviderOpt, QuietOpt
from .output import Output, errors
from .results import conclude, deliver
from .session import session

EPILOG = """Examples:

  $ obatch download -o results.jsonl

  $ obatch download 3 -o - | jq .custom_id

  $ obatch download 3 --raw results/"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(download)


def download(
    job: JobArg = None,
    output: OutputOpt = None,
    raw: Annotated[
        str | None, typer.Option("--raw", metavar="FOLDER", help="Fetch the provider's own files, byte for byte.")
    ] = None,
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
        found = current.find(job, provider)
        if not found.ended:
            found = current.flow.refresh(current.flow.advance(found))
        if not found.ended:
            raise BatchError(f"job {found.id} is still {found.status}", hint=f"obatch wait {found.id}")
        if raw is not None:
            paths = fetch_raw(current.flow, found, Path(raw).expanduser(), force=force)
            current.reporter.close()
            Output().lines(str(path) for path in paths)
            if not paths:
                errors.note(f"job {found.id} {found.status}: it left no files")
            return
        target = Path(output or found.output_path or f"job-{found.id}.results.jsonl").expanduser()
        collected = deliver(
            current, found, sys.stdout.buffer if output == "-" else target, force=force, missing=missing
        )
        conclude(collected, as_json=json and output != "-", quiet=quiet)
