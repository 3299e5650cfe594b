"""`obatch run`: prompts or a batch file to results, in one go."""

from __future__ import annotations

import sys
from dataclasses import replace
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openai_batch.errors import UsageError

from .options import (
    AgainOpt,
    AsOpt,
    DedupOpt,
    DryRunOpt,
    EmbeddingsOpt,
    EndpointOpt,
    FieldsOpt,
    ForceOpt,
    FormatOpt,
    IdOpt,
    ImageOpt,
    InertOpt,
    InlineOpt,
    JsonOpt,
    LimitOpt,
    MetadataOpt,
    MissingOpt,
    ModelOpt,
    NameOpt,
    OutputOpt,
    ParamOpt,
    PrefixOpt,
    PromptOpt,
    ProviderOpt,
    QuietOpt,
    RemoteOpt,
    RerankOpt,
    RetriesOpt,
    SchemaOpt,
    ScoreOpt,
    SqlOpt,
    SystemOpt,
    TableOpt,
    TimeoutOpt,
    UncertainOpt,
    WindowOpt,
    seconds,
)
from .planning import origin_of, say_dry, spared_words
from .prepare import Wishes, make_inputs, make_recipe
from .results import conclude, deliver, make_export
from .session import Session, session
from .submit import announce, make_order

if TYPE_CHECKING:
    from openai_batch._inputs import Source
    from openai_batch._jobs import Job
    from openai_batch._tables import Inputs

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
    app.command(epilog=EPILOG)(run)


def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Prompts, one a line, tables, or a batch input file; - is stdin.",
            show_default=False,
        ),
    ] = None,
    output: OutputOpt = None,
    provider: ProviderOpt = None,
    example: Annotated[bool, typer.Option("--example", help="Label the built-in reviews.")] = False,
    model: ModelOpt = None,
    endpoint: EndpointOpt = None,
    prompt: PromptOpt = None,
    system: SystemOpt = None,
    schema: SchemaOpt = None,
    param: ParamOpt = None,
    image: ImageOpt = None,
    inline_images: InlineOpt = False,
    id_column: IdOpt = None,
    embeddings: EmbeddingsOpt = False,
    score: ScoreOpt = None,
    rerank: RerankOpt = None,
    prefix: PrefixOpt = "line",
    format: FormatOpt = None,  # noqa: A002 - the flag's name
    table: TableOpt = None,
    sql: SqlOpt = None,
    limit: LimitOpt = None,
    name: NameOpt = None,
    metadata: MetadataOpt = None,
    window: WindowOpt = None,
    timeout: TimeoutOpt = None,
    form: AsOpt = None,
    fields: FieldsOpt = False,
    inert: InertOpt = True,
    missing: MissingOpt = None,
    retries: RetriesOpt = 0,
    force: ForceOpt = False,
    dedup: DedupOpt = None,
    again: AgainOpt = False,
    resubmit_uncertain: UncertainOpt = False,
    check_remote: RemoteOpt = False,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Run prompts, a table or a batch file to its end: prepare, submit, wait, download.

    Without -o the results of FILE go to FILE's name with `.results.jsonl`, those of stdin to stdout.
    """
    from openai_batch._files import check_target
    from openai_batch._inputs import workspace
    from openai_batch._jobfiles import COLUMNS
    from openai_batch._reuse import Terms, submit_rest

    if (not files and sql is None) != example:
        raise UsageError("name a file of prompts or requests, or --example", hint="obatch run --example -p local")
    patience = seconds(timeout)
    target = _target(files, output, form)
    export = make_export(output, form, fields=fields, inert=inert)
    with session(quiet=quiet) as current, workspace() as folder:
        wishes = Wishes(
            provider=provider,
            model=model,
            endpoint=endpoint,
            prompt=prompt,
            system=system,
            schema=schema,
            param=param,
            image=image,
            inline_images=inline_images,
            id_column=id_column,
            embeddings=embeddings,
            score=score,
            rerank=rerank,
            prefix=prefix,
            limit=limit,
        )
        if example:
            source, provider = _example(folder, provider, model)
        else:
            source, provider = _requests(make_inputs(files, folder, format, table, sql), folder, wishes)
        order = make_order(source, folder, provider, name, metadata, window)
        order = replace(order, dedup=dedup, origin=None if example else origin_of(files, table, sql, target))
        columns = folder / COLUMNS
        made = columns.exists()
        if made:
            order = replace(order, checked=replace(order.checked, columns=columns))
        known = None if again else current.flow.registry.by_identity(order.identity)
        if missing is not None:
            check_target(Path(missing).expanduser(), force=force or known is not None)
        terms = Terms(
            dedup=made if dedup is None else dedup,
            reuse=True,
            again=again,
            target=target,
            force=force,
            timeout=patience,
            resubmit_uncertain=resubmit_uncertain,
            check_remote=check_remote,
        )
        if dry_run:
            say_dry(current, order, terms.look(current.flow, order, folder))
            return
        job, new, order = submit_rest(current.flow, order, folder, terms, current.follow)
        current.job = job
        announce(current, new)
        if words := spared_words(order):
            current.reporter.note(f"job {job.id}: {words}")
        job = _followed(current, job, patience, retries)
        collected = deliver(
            current,
            job,
            target or sys.stdout.buffer,
            force=force,
            earlier=order.earlier,
            missing=missing,
            requests=order.checked.path,
            export=export,
        )
        conclude(collected, as_json=json and target is not None, quiet=quiet)


def _followed(current: Session, job: Job, limit: float | None, retries: int) -> Job:
    """Wait for the job, and send again what has no success, as often as asked for and where it can help."""
    from openai_batch._retry import retry, survey

    job = current.flow.wait(job, timeout=limit)
    for _ in range(retries):
        if job.status == "completed" and not job.counts.failed and job.counts.completed == job.counts.total:
            break
        planned = len(job.parts)
        job = retry(current.flow, job, survey(current.flow, job))
        if len(job.parts) == planned:
            break
        current.reporter.note(f"job {job.id}: sent again what has no success")
        job = current.flow.wait(job, timeout=limit)
    return job


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


def _example(folder: Path, provider: str | None, model: str | None) -> tuple[Source, str]:
    from openai_batch._example import write_example
    from openai_batch._inputs import Source
    from openai_batch.providers import pick_provider

    chosen = pick_provider(provider, model)
    path = folder / "example.jsonl"
    with path.open("wb") as handle:
        write_example(handle, model or chosen.default_chat_model)
    return Source(path, "example", None), str(chosen.name)


def _requests(inputs: Inputs, folder: Path, wishes: Wishes) -> tuple[Source, str | None]:
    """Return the requests of a ready batch file, or those made of the rows, and the provider's name."""
    from openai_batch._columns import recording
    from openai_batch._inputs import Source
    from openai_batch._jobfiles import COLUMNS
    from openai_batch._prepare import prepare

    ready = inputs.requests()
    if ready is not None:
        if wishes.any():
            raise UsageError(
                "the file holds ready requests, which the options for prompts do not change",
                hint="leave out --model, --prompt, --system and the others, or say what it is with --format jsonl",
            )
        return ready, wishes.provider
    chosen, recipe = make_recipe(wishes)
    path = folder / "prepared.jsonl"
    with path.open("wb") as handle, (folder / COLUMNS).open("wb") as columns:
        prepare(recording(inputs.tables(), columns), recipe, handle, limit=wishes.limit)
    return Source(path, f"requests made of {inputs.name}", None), str(chosen.name)
