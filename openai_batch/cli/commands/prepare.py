"""`obatch prepare`: turn prompts or tables into a batch input file."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from openai_batch.cli.options import ForceOpt, ProviderOpt
from openai_batch.cli.output import Output, count_text, errors, escape_controls
from openai_batch.cli.request_options import InputOptions, RequestOptions, note_prepared

if TYPE_CHECKING:
    from openai_batch.inputs.formats import Inputs
    from openai_batch.inputs.request_spec import RequestSpec

EPILOG = """Examples:

  $ obatch prepare prompts.txt -o input.jsonl --model gpt-4o-mini

  $ obatch prepare reviews.csv --prompt "Label this review: {{ text }}" --id review_id -o input.jsonl

  $ obatch prepare reviews.csv --prompt @label.txt --schema label.json --show 3

  $ obatch prepare - --system "Answer in French." --param temperature=0.2 < prompts.txt > input.jsonl

  $ obatch prepare --sql "SELECT title AS text FROM 'books.parquet' WHERE year > 2000" -e -o input.jsonl"""


def prepare(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Prompts, one per line, or tables: CSV, TSV, JSON, Parquet, SQLite, Excel; - is stdin.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Batch file; - is stdout.")] = "-",
    show: Annotated[
        int | None, typer.Option("--show", metavar="N", min=1, help="Print the first N requests and write nothing.")
    ] = None,
    provider: ProviderOpt = None,
    *,
    request: RequestOptions,
    inputs: InputOptions,
    force: ForceOpt = False,
) -> None:
    """Turn prompts or the rows of tables into a batch input file."""
    from openai_batch.files.atomic import check_target, part_file, publish
    from openai_batch.inputs.prepare import prepare as write
    from openai_batch.jobs.make_requests import with_model
    from openai_batch.providers.lookup import pick_provider

    spec = with_model(request.spec(), pick_provider(provider, request.model))
    target = None if output == "-" or show else Path(output).expanduser()
    if target is not None:
        check_target(target, force=force)
    with TemporaryDirectory(prefix="obatch-") as folder:
        opened = inputs.open(files, Path(folder))
        if show:
            _show(opened, spec, min(filter(None, (inputs.limit, show))), skip_empty=inputs.skip_empty)
        elif target is not None:
            with part_file(target) as (handle, part):
                made = write(opened.tables(), spec, handle, limit=inputs.limit, skip_empty=inputs.skip_empty)
                publish(handle, part, target, replace=force)
            note_prepared(made)
            errors.note(f"{count_text(made.requests, 'request')} in {target}")
            errors.hint(f"obatch submit {target}")
        else:
            with Path(folder, "requests.jsonl").open("w+b") as handle:
                made = write(opened.tables(), spec, handle, limit=inputs.limit, skip_empty=inputs.skip_empty)
                note_prepared(made)
                handle.seek(0)
                shutil.copyfileobj(handle, sys.stdout.buffer, 1 << 20)


def _show(inputs: Inputs, spec: RequestSpec, limit: int, *, skip_empty: bool) -> None:
    """Print the first requests: indented on a terminal, as they are sent in a pipe."""
    from openai_batch.inputs.prepare import prepare as write

    lines = io.BytesIO()
    note_prepared(write(inputs.tables(), spec, lines, limit=limit, skip_empty=skip_empty))
    texts = lines.getvalue().decode().splitlines()
    if sys.stdout.isatty():
        texts = [escape_controls(json.dumps(json.loads(text), indent=2, ensure_ascii=False)) for text in texts]
    Output().lines(texts)
