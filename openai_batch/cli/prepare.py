"""`obatch prepare`: prompts to a batch input file."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    EmbeddingsOpt,
    ForceOpt,
    ModelOpt,
    ParamOpt,
    PrefixOpt,
    ProviderOpt,
    RerankOpt,
    ScoreOpt,
    SystemOpt,
    params,
)
from .output import counted, errors

if TYPE_CHECKING:
    from openai_batch._prepare import Recipe
    from openai_batch._profile import Provider

EPILOG = """Examples:

  $ obatch prepare prompts.txt -o input.jsonl --model gpt-4o-mini

  $ obatch prepare - --system "Answer in French." --param temperature=0.2 < prompts.txt > input.jsonl

  $ obatch prepare texts.txt -o input.jsonl --embeddings --model text-embedding-3-small"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(prepare)


def prepare(
    prompts: Annotated[str, typer.Argument(metavar="PROMPTS", help="Text file, one prompt a line; - is stdin.")] = "-",
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Batch file; - is stdout.")] = "-",
    model: ModelOpt = None,
    provider: ProviderOpt = None,
    system: SystemOpt = None,
    param: ParamOpt = None,
    embeddings: EmbeddingsOpt = False,
    score: ScoreOpt = None,
    rerank: RerankOpt = None,
    prefix: PrefixOpt = "line",
    force: ForceOpt = False,
) -> None:
    """Turn prompts into a batch input file."""
    from openai_batch._files import check_target, part_file, publish
    from openai_batch._inputs import open_source
    from openai_batch._prepare import prepare as write

    _, recipe = make_recipe(provider, model, system, param, embeddings, score, rerank, prefix)
    target = None if output == "-" else Path(output).expanduser()
    if target is not None:
        check_target(target, force=force)
    if prompts == "-" and sys.stdin.isatty():
        errors.note("reading prompts from the terminal, one a line; Ctrl-D ends them")
    with TemporaryDirectory(prefix="obatch-") as folder:
        source = open_source(prompts, Path(folder))
        with source.path.open("rb") as stream:
            if target is not None:
                with part_file(target) as (handle, part):
                    count = write(stream, source.name, recipe, handle)
                    publish(handle, part, target, replace=force)
                errors.note(f"{counted(count, 'request')} in {target}")
                errors.hint(f"obatch submit {target}")
                return
            scratch = Path(folder, "requests.jsonl")
            with scratch.open("w+b") as handle:
                write(stream, source.name, recipe, handle)
                handle.seek(0)
                shutil.copyfileobj(handle, sys.stdout.buffer, 1 << 20)


def make_recipe(
    provider: str | None,
    model: str | None,
    system: str | None,
    param: list[str] | None,
    embeddings: bool,
    score: str | None,
    rerank: str | None,
    prefix: str,
) -> tuple[Provider, Recipe]:
    """Return the provider and what to make of each prompt; the model is the provider's default one if not given."""
    from openai_batch._prepare import Recipe
    from openai_batch.providers import pick_provider

    chosen = pick_provider(provider, model)
    default = chosen.default_embedding_model if embeddings else chosen.default_chat_model
    return chosen, Recipe(model or default, system, embeddings, score, rerank, prefix, params(param))
