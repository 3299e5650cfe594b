"""`obatch run`: prompts or a batch file to results, in one go."""

from __future__ import annotations

from glob import has_magic
from pathlib import Path
from typing import Annotated

import typer

from openai_batch.cli.announce import announce, say_dry
from openai_batch.cli.deliver import conclude, deliver
from openai_batch.cli.export_options import ExportOptions
from openai_batch.cli.job_options import JobOptions
from openai_batch.cli.option_groups import with_groups
from openai_batch.cli.options import (
    DedupOpt,
    DryRunOpt,
    ForceOpt,
    JsonOpt,
    MissingOpt,
    OutputOpt,
    ProviderOpt,
    QuietOpt,
    RetriesOpt,
    TimeoutOpt,
    seconds,
)
from openai_batch.cli.request_options import InputOptions, RequestOptions
from openai_batch.cli.session import session
from openai_batch.errors import UsageError

EPILOG = """Examples:

  $ obatch run --example --provider local

  $ obatch run prompts.txt -o answers.jsonl --model gpt-4o-mini

  $ obatch run reviews.csv --prompt "Label this review: {{ text }}" --id review_id -o labels.jsonl

  $ obatch run reviews.csv --prompt @label.txt --schema label.json -o labels.csv --fields

  $ obatch run input.jsonl -p parasail -o results.jsonl

The same command again goes on with the same job, wherever it was stopped. When FILE has grown since, only the rows
that are new or changed are sent, and the output holds the answers to all."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(with_groups(run))


def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE", help="Prompts, one a line, tables, or a batch input file; - is stdin.", show_default=False
        ),
    ] = None,
    output: OutputOpt = None,
    provider: ProviderOpt = None,
    example: Annotated[bool, typer.Option("--example", help="Label the built-in reviews.")] = False,
    *,
    request: RequestOptions,
    inputs: InputOptions,
    job: JobOptions,
    timeout: TimeoutOpt = None,
    export: ExportOptions,
    missing: MissingOpt = None,
    retries: RetriesOpt = 0,
    force: ForceOpt = False,
    dedup: DedupOpt = None,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Run prompts, a table or a batch file to its end: prepare, submit, wait, download.

    Without -o the results of FILE go to FILE's name with `.results.jsonl`, those of stdin to stdout.
    """
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.job_spec import name_of_input
    from openai_batch.jobs.make_requests import make_example, make_requests
    from openai_batch.jobs.retry import wait_and_retry
    from openai_batch.jobs.submit import preview, submit

    if (not files and inputs.sql is None) != example:
        raise UsageError("name a file of prompts or requests, or --example", hint="obatch run --example -p local")
    patience, target = seconds(timeout), _target(files, output, export.form)
    table = export.export(output)
    rest = Path(missing).expanduser() if missing else None
    with session(quiet=quiet) as current, workspace() as folder:
        if example:
            made, input_name = make_example(folder, provider, request.model), None
        else:
            opened = inputs.open(files, folder)
            made = make_requests(opened, folder, request.spec(), provider, limit=inputs.limit)
            input_name = name_of_input(files or [], table=inputs.table, sql=inputs.sql, output=target)
        spec = job.spec(made, folder, dedup=dedup, input_name=input_name)
        options = job.submit_options(
            dedup=made.columns is not None if dedup is None else dedup,
            reuse=True,
            output=target,
            missing=rest,
            force=force,
            timeout=patience,
        )
        if dry_run:
            say_dry(current, spec, preview(current.workflow, spec, folder, options))
            return
        started = submit(current.workflow, spec, folder, options, current.follow)
        announce(current, started)
        ended = wait_and_retry(current.workflow, started.job, timeout=patience, retries=retries)
        earlier, requests = started.spec.earlier, spec.batch_file.path
        collected = deliver(
            current, ended, target, force=force, earlier=earlier, missing=rest, requests=requests, export=table
        )
        conclude(collected, as_json=json and target is not None, quiet=quiet)


def _target(files: list[str] | None, output: str | None, form: str | None) -> Path | None:
    """Return the file to write; None for standard output."""
    if output is not None:
        return None if output == "-" else Path(output).expanduser()
    if not files or files == ["-"]:
        return None
    if len(files) > 1 or (has_magic(files[0]) and not Path(files[0]).exists()):
        raise UsageError("several inputs have no name for their results", hint="name one with -o")
    ending = form if form in ("csv", "parquet") else "jsonl"
    return Path(f"{Path(files[0]).stem}.results.{ending}")
