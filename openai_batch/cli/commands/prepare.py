"""`obatch prepare`: turn prompts or tables into a batch input file."""

from __future__ import annotations

import io
import shlex
import shutil
import sys
from json import dumps, loads
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from openai_batch.cli.help_format import MAIN, examples
from openai_batch.cli.live import working
from openai_batch.cli.options import DryRunOpt, ForceOpt, JsonOpt, ProviderOpt, argument, option
from openai_batch.cli.output import JsonArray, errors, json_stream, print_json
from openai_batch.cli.request_options import InputOptions, RequestOptions, note_prepared
from openai_batch.errors import count_text

if TYPE_CHECKING:
    from typing import BinaryIO

    from openai_batch.inputs.formats import Inputs
    from openai_batch.inputs.prepare import Prepared
    from openai_batch.inputs.request_spec import RequestSpec

EPILOG = examples(
    "obatch prepare prompts.txt -m gpt-4o-mini -o input.jsonl",
    'obatch prepare reviews.csv --prompt "Label: {{ text }}" -o input.jsonl',
    "obatch prepare reviews.csv --prompt @label.txt --schema label.json --show 3",
    'obatch prepare - --system "Answer in French." --param temperature=0.2 \\\n      < prompts.txt > input.jsonl',
    "obatch prepare --sql \"SELECT title AS text FROM 'books.parquet'\" -e \\\n      -o input.jsonl",
)


def prepare(
    files: Annotated[
        list[str] | None,
        argument("FILE", "Prompts, one per line, or tables: CSV, TSV, JSON, Parquet, SQLite, Excel; - is stdin.", MAIN),
    ] = None,
    output: Annotated[str, option("--output -o", "FILE", "Batch file; - is stdout.", MAIN)] = "-",
    show: Annotated[
        int | None, option("--show", "N", "Print the first N requests; write nothing.", MAIN, min=1)
    ] = None,
    provider: ProviderOpt = None,
    *,
    request: RequestOptions,
    inputs: InputOptions,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
) -> None:
    """Turn prompts or the rows of tables into a batch input file."""
    from openai_batch.files.atomic import as_target, check_target, part_file, publish
    from openai_batch.inputs.prepare import prepare as write
    from openai_batch.jobs.input_name import input_files
    from openai_batch.jobs.make_requests import fitted
    from openai_batch.jobs.output_file import LINES, check_ending, check_no_input
    from openai_batch.providers.lookup import pick_provider

    spec = fitted(request.spec(), pick_provider(provider, request.model))
    target = None if output == "-" or show else as_target(output)
    if target is not None:
        check_ending(target, LINES)
        check_no_input(target, [*request.files(), *input_files(inputs.name(files or ["-"], target))])
        check_target(target, force=force)
    with TemporaryDirectory(prefix="obatch-") as folder:
        opened = inputs.open(files, Path(folder))

        def make(handle: BinaryIO) -> Prepared:
            with working("reading the input", files or ["-"]):
                return write(opened.tables(), spec, handle, limit=inputs.limit, skip_empty=inputs.skip_empty)

        if show:
            first = min(filter(None, (inputs.limit, show)))
            _show(opened, spec, first, skip_empty=inputs.skip_empty, as_json=json)
        elif target is not None and not dry_run:
            with part_file(target) as (out, part):
                made = make(out)
                publish(out, part, target, replace=force)
            note_prepared(made)
            _conclude(spec, made.requests, str(target), dry_run=False, as_json=json)
            if not json:
                errors.hint(shlex.join(["obatch", "submit", str(target), *(("-p", provider) if provider else ())]))
        else:
            with Path(folder, "requests.jsonl").open("w+b") as copy:
                made = make(copy)
                note_prepared(made)
                if dry_run:
                    _conclude(spec, made.requests, output, dry_run=True, as_json=json)
                else:
                    _print(copy, as_json=json)


def _print(requests: BinaryIO, *, as_json: bool) -> None:
    """Print the lines of requests, or one JSON array of them."""
    requests.seek(0)
    array = JsonArray() if as_json else None
    shutil.copyfileobj(requests, array or json_stream(), 1 << 20)
    if array is not None:
        array.finish()


def _conclude(spec: RequestSpec, count: int, output: str, *, dry_run: bool, as_json: bool) -> None:
    """Say how many requests were written, or would be, and where."""
    requests = count_text(count, "request")
    if as_json:
        record = {"dry_run": dry_run, "output": output, "requests": count, "model": spec.model}
        print_json(record | {"endpoint": spec.target[1]})
    elif dry_run:
        where = "standard output" if output == "-" else output
        errors.note(f"would write {requests} to {where}, model {spec.model}; nothing was written")
    else:
        errors.note(f"{requests} in {output}, model {spec.model}")


def _show(inputs: Inputs, spec: RequestSpec, limit: int, *, skip_empty: bool, as_json: bool) -> None:
    """Print the first requests: indented on a terminal, as they are sent in a pipe, or as one JSON array."""
    from openai_batch.inputs.prepare import prepare as write

    lines = io.BytesIO()
    note_prepared(write(inputs.tables(), spec, lines, limit=limit, skip_empty=skip_empty))
    requests = [loads(line) for line in lines.getvalue().splitlines()]
    if as_json:
        print_json(requests)
    elif sys.stdout.isatty():
        json_stream().write("".join(dumps(each, indent=2, ensure_ascii=False) + "\n" for each in requests).encode())
    else:
        sys.stdout.buffer.write(lines.getvalue())
