"""`obatch prepare`: prompts and tables to a batch input file."""

from __future__ import annotations

import io
import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from openai_batch.errors import UsageError

from .options import (
    EmbeddingsOpt,
    EndpointOpt,
    ForceOpt,
    FormatOpt,
    IdOpt,
    ImageOpt,
    InlineOpt,
    LimitOpt,
    ModelOpt,
    ParamOpt,
    PrefixOpt,
    PromptOpt,
    ProviderOpt,
    RerankOpt,
    SchemaOpt,
    ScoreOpt,
    SqlOpt,
    SystemOpt,
    TableOpt,
    params,
    text_or_file,
)
from .output import Output, counted, errors, safe

if TYPE_CHECKING:
    from openai_batch._profile import Provider
    from openai_batch._recipe import RequestSpec
    from openai_batch._tables import Inputs

EPILOG = """Examples:

  $ obatch prepare prompts.txt -o input.jsonl --model gpt-4o-mini

  $ obatch prepare reviews.csv --prompt "Label this review: {{ text }}" --id review_id -o input.jsonl

  $ obatch prepare reviews.csv --prompt @label.txt --schema label.json --show 3

  $ obatch prepare - --system "Answer in French." --param temperature=0.2 < prompts.txt > input.jsonl

  $ obatch prepare --sql "SELECT title AS text FROM 'books.parquet' WHERE year > 2000" -e -o input.jsonl"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(prepare)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The options that say what to make of an input, as they were typed."""

    provider: str | None
    model: str | None
    endpoint: str | None
    prompt: str | None
    system: str | None
    schema: str | None
    param: list[str] | None
    image: list[str] | None
    inline_images: bool
    id_column: str | None
    embeddings: bool
    score: str | None
    rerank: str | None
    prefix: str
    limit: int | None

    def any(self) -> bool:
        """Tell whether something was said that ready requests would not follow."""
        said = (
            self.model,
            self.endpoint,
            self.prompt,
            self.system,
            self.schema,
            self.param,
            self.image,
            self.id_column,
        )
        return any((*said, self.embeddings, self.score, self.rerank, self.limit))


def prepare(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Prompts, one a line, or tables: CSV, TSV, JSON lines, Parquet, SQLite; - is stdin.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Batch file; - is stdout.")] = "-",
    show: Annotated[
        int | None, typer.Option("--show", metavar="N", min=1, help="Print the first N requests and write nothing.")
    ] = None,
    model: ModelOpt = None,
    provider: ProviderOpt = None,
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
    force: ForceOpt = False,
) -> None:
    """Turn prompts or the rows of a table into a batch input file."""
    from openai_batch._files import check_target, part_file, publish
    from openai_batch._prepare import prepare as write

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
        limit=min(filter(None, (limit, show)), default=None),
    )
    _, recipe = make_recipe(wishes)
    target = None if output == "-" or show else Path(output).expanduser()
    if target is not None:
        check_target(target, force=force)
    with TemporaryDirectory(prefix="obatch-") as folder:
        inputs = make_inputs(files, Path(folder), format, table, sql)
        if show:
            _show(inputs, recipe, wishes.limit)
            return
        if target is not None:
            with part_file(target) as (handle, part):
                count = write(inputs.tables(), recipe, handle, limit=limit)
                publish(handle, part, target, replace=force)
            errors.note(f"{counted(count, 'request')} in {target}")
            errors.hint(f"obatch submit {target}")
            return
        scratch = Path(folder, "requests.jsonl")
        with scratch.open("w+b") as handle:
            write(inputs.tables(), recipe, handle, limit=limit)
            handle.seek(0)
            shutil.copyfileobj(handle, sys.stdout.buffer, 1 << 20)


def make_inputs(files: list[str] | None, folder: Path, form: str | None, table: str | None, sql: str | None) -> Inputs:
    """Return what is to be read: these files, else the query, else standard input."""
    from openai_batch._tables import Inputs

    names = files or ([] if sql is not None else ["-"])
    if "-" in names and sys.stdin.isatty():
        errors.note("reading prompts from the terminal, one a line; Ctrl-D ends them")
    return Inputs(names, folder, form, table, sql)


def make_recipe(wishes: Wishes) -> tuple[Provider, RequestSpec]:
    """Return the provider and what to make of each row; the model is the provider's default one if not given."""
    from openai_batch._recipe import RequestSpec
    from openai_batch._schema import load_schema
    from openai_batch.providers import pick_provider

    chosen = pick_provider(wishes.provider, wishes.model)
    recipe = RequestSpec(
        "",
        endpoint=wishes.endpoint,
        prompt=text_or_file(wishes.prompt, "--prompt"),
        system=text_or_file(wishes.system, "--system"),
        embeddings=wishes.embeddings,
        score=text_or_file(wishes.score, "--score"),
        rerank=text_or_file(wishes.rerank, "--rerank"),
        prefix=wishes.prefix,
        params=params(wishes.param),
        schema=load_schema(Path(wishes.schema).expanduser()) if wishes.schema is not None else None,
        images=tuple(wishes.image or ()),
        inline_images=wishes.inline_images,
        id_column=wishes.id_column,
    )
    return chosen, replace(recipe, model=wishes.model or _default_model(recipe, chosen))


def _default_model(recipe: RequestSpec, provider: Provider) -> str:
    from openai_batch._endpoints import BatchType

    kind, path = recipe.target
    if kind is BatchType.IMAGE_GENERATION:
        raise UsageError(f"requests for {path} have no default model", hint="name one with --model")
    if kind is BatchType.MODERATION:
        return "omni-moderation-latest"
    return str(provider.default_embedding_model if kind is BatchType.EMBEDDING else provider.default_chat_model)


def _show(inputs: Inputs, recipe: RequestSpec, limit: int | None) -> None:
    """Print the first requests: indented for a person, as they are for a program."""
    from openai_batch._prepare import prepare as write

    lines = io.BytesIO()
    write(inputs.tables(), recipe, lines, limit=limit)
    texts = lines.getvalue().decode().splitlines()
    if sys.stdout.isatty():
        texts = [safe(json.dumps(json.loads(text), indent=2, ensure_ascii=False)) for text in texts]
    Output().lines(texts)
