"""`obatch download`: a job's results, checked and in input order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openai_batch.cli.deliver import conclude, deliver
from openai_batch.cli.export_options import ExportOptions
from openai_batch.cli.option_groups import with_groups
from openai_batch.cli.options import ForceOpt, JobArg, JsonOpt, MissingOpt, OutputOpt, ProviderOpt, QuietOpt
from openai_batch.cli.output import Output, errors
from openai_batch.cli.session import session

EPILOG = """Examples:

  $ obatch download -o results.jsonl

  $ obatch download -o results.csv --fields

  $ obatch download 3 -o - | jq .custom_id

  $ obatch download 3 --raw results/"""


_ENDINGS = {"csv": ".csv", "parquet": ".parquet"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(with_groups(download))


def download(
    job: JobArg = None,
    output: OutputOpt = None,
    raw: Annotated[
        str | None, typer.Option("--raw", metavar="FOLDER", help="Fetch the provider's own files, byte for byte.")
    ] = None,
    *,
    form: ExportOptions,
    missing: MissingOpt = None,
    provider: ProviderOpt = None,
    force: ForceOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Fetch a job's results: one line a request, in input order; whatever its end, what exists is collected.

    Without -o they go to where they went before, or to `job-N.results.jsonl`.
    """
    from openai_batch.jobs.collect import fetch_raw

    with session(quiet=quiet) as current:
        found = current.ended(job, provider)
        if raw is not None:
            paths = fetch_raw(current.workflow, found, Path(raw).expanduser(), force=force)
            current.reporter.close()
            Output().lines(str(path) for path in paths)
            if not paths:
                errors.note(f"job {found.id} {found.status}: it left no files")
            return
        name = output or found.output_path or f"job-{found.id}.results{_ENDINGS.get(form.form or '', '.jsonl')}"
        export = form.export(name)
        target = None if name == "-" else Path(name).expanduser()
        rest = Path(missing).expanduser() if missing else None
        collected = deliver(current, found, target, force=force, missing=rest, export=export)
        conclude(collected, as_json=json and output != "-", quiet=quiet)
