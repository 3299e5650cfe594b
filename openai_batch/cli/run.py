"""`obatch run`: prompts or a batch file to results, in one go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openai_batch.errors import BatchError, UsageError

from .options import (
    AgainOpt,
    DryRunOpt,
    EmbeddingsOpt,
    ForceOpt,
    JsonOpt,
    MetadataOpt,
    MissingOpt,
    ModelOpt,
    NameOpt,
    OutputOpt,
    ParamOpt,
    PrefixOpt,
    ProviderOpt,
    QuietOpt,
    RemoteOpt,
    RerankOpt,
    ScoreOpt,
    SystemOpt,
    TimeoutOpt,
    UncertainOpt,
    WindowOpt,
    seconds,
)
from .prepare import make_recipe
from .results import conclude, deliver
from .session import session
from .submit import announce, make_order, say_dry, spoken

if TYPE_CHECKING:
    from openai_batch._inputs import Source

EPILOG = """Examples:

  $ obatch run --example --provider local

  $ obatch run prompts.txt -o answers.jsonl --model gpt-4o-mini

  $ obatch run input.jsonl -p parasail -o results.jsonl

The same command again goes on with the same job, wherever it was stopped."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(run)


def run(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE", help="Prompts, one a line, or a batch input file; - is stdin.", show_default=False
        ),
    ] = None,
    output: OutputOpt = None,
    provider: ProviderOpt = None,
    example: Annotated[bool, typer.Option("--example", help="Label the built-in reviews.")] = False,
    model: ModelOpt = None,
    system: SystemOpt = None,
    param: ParamOpt = None,
    embeddings: EmbeddingsOpt = False,
    score: ScoreOpt = None,
    rerank: RerankOpt = None,
    prefix: PrefixOpt = "line",
    name: NameOpt = None,
    metadata: MetadataOpt = None,
    window: WindowOpt = None,
    timeout: TimeoutOpt = None,
    missing: MissingOpt = None,
    force: ForceOpt = False,
    again: AgainOpt = False,
    resubmit_uncertain: UncertainOpt = False,
    check_remote: RemoteOpt = False,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Run prompts or a batch file to its end: prepare, submit, wait, download.

    Without -o the results of FILE go to FILE's name with `.results.jsonl`, those of stdin to stdout.
    """
    from openai_batch._files import check_target
    from openai_batch._inputs import looks_like_requests, open_source, workspace

    if (file is None) != example:
        raise UsageError("name a file of prompts or requests, or --example", hint="obatch run --example -p local")
    limit = seconds(timeout)
    with session(quiet=quiet) as current, workspace() as folder:
        cooked = (provider, model, system, param, embeddings, score, rerank, prefix)
        if file is None:
            source, provider = _example(folder, provider, model)
        else:
            source = open_source(spoken(file), folder)
            if looks_like_requests(source):
                _refuse_recipe(model, system, param, embeddings, score, rerank)
            else:
                source, provider = _prepared(source, folder, cooked)
        order = make_order(source, folder, provider, name, metadata, window)
        target = _target(file, output)
        if dry_run:
            say_dry(order)
            return
        known = None if again else current.flow.registry.by_identity(order.identity)
        if target is not None:
            _refuse_taken(target, known, force)
        if missing is not None:
            check_target(Path(missing).expanduser(), force=force)
        job, new = current.flow.submit(
            order, again=again, resubmit_uncertain=resubmit_uncertain, check_remote=check_remote
        )
        current.job = job
        announce(current, new)
        job = current.flow.wait(job, timeout=limit)
        collected = deliver(
            current, job, target or sys.stdout.buffer, force=force, missing=missing, requests=order.checked.path
        )
        conclude(collected, as_json=json and target is not None, quiet=quiet)


def _target(file: str | None, output: str | None) -> Path | None:
    """Return the file to write; None for standard output."""
    if output is not None:
        return None if output == "-" else Path(output).expanduser()
    if file is None or file == "-":
        return None
    return Path(f"{Path(file).stem}.results.jsonl")


def _refuse_taken(target: Path, known: object, force: bool) -> None:
    """Refuse a target that is not this job's own, before anything is paid."""
    from openai_batch._files import check_target

    if getattr(known, "output_path", None) != str(target.absolute()):
        check_target(target, force=force)


def _refuse_recipe(*choices: object) -> None:
    if any(choices):
        raise UsageError(
            "the file holds ready requests, which the options for prompts do not change",
            hint="leave out --model, --system, --param, --embeddings, --score and --rerank",
        )


def _example(folder: Path, provider: str | None, model: str | None) -> tuple[Source, str]:
    from openai_batch._example import write_example
    from openai_batch._inputs import Source
    from openai_batch.providers import pick_provider

    chosen = pick_provider(provider, model)
    path = folder / "example.jsonl"
    with path.open("wb") as handle:
        write_example(handle, model or chosen.default_chat_model)
    return Source(path, "example", None), str(chosen.name)


def _prepared(source: Source, folder: Path, cooked: tuple[object, ...]) -> tuple[Source, str]:
    from openai_batch._inputs import Source
    from openai_batch._prepare import prepare

    chosen, recipe = make_recipe(*cooked)  # type: ignore[arg-type] # the options, passed on as they came
    path = folder / "prepared.jsonl"
    with source.path.open("rb") as stream, path.open("wb") as handle:
        prepare(stream, source.name, recipe, handle)
    if not path.stat().st_size:
        raise BatchError("nothing was prepared")
    return Source(path, f"requests made of {source.name}", None), str(chosen.name)
