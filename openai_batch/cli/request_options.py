"""The options that `run` and `prepare` share: what to read, and which request to make from each row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from openai_batch.errors import count_text

from .help_format import INPUT, MAIN, PROMPT
from .options import ModelOpt, flag, option, params, text_or_file
from .output import errors, note_terminal_input

if TYPE_CHECKING:
    from openai_batch.files.stored_file import Target
    from openai_batch.inputs.formats import Inputs
    from openai_batch.inputs.prepare import Prepared
    from openai_batch.inputs.request_spec import RequestSpec
    from openai_batch.jobs.make_requests import Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """The options for the request of each row, as typed."""

    model: ModelOpt = None
    endpoint: Annotated[
        str | None,
        option(
            "--endpoint",
            "NAME",
            "chat (default), responses, embeddings, completions, moderations, images, score, rerank.",
            PROMPT,
        ),
    ] = None
    prompt: Annotated[
        str | None,
        option(
            "--prompt",
            "TEMPLATE",
            "Prompt of each row, like 'Label: {{ text }}', or @FILE; else the column prompt, text or messages.",
            MAIN,
        ),
    ] = None
    system: Annotated[
        str | None, option("--system", "TEXT", "System message; may be a template, or @FILE.", PROMPT)
    ] = None
    schema: Annotated[str | None, option("--schema", "FILE", "JSON schema that each answer must follow.", MAIN)] = None
    param: Annotated[
        list[str] | None, option("--param", "KEY=VALUE", "Request parameter; @FILE reads JSON; repeatable.", PROMPT)
    ] = None
    image: Annotated[
        list[str] | None, option("--image", "COLUMN", "Column with an image's path or URL; repeatable.", INPUT)
    ] = None
    inline_images: Annotated[bool, flag("--inline-images", "Download images from URLs; send the bytes.", INPUT)] = False
    id_column: Annotated[str | None, option("--id", "COLUMN", "Column with the custom ids.", INPUT)] = None
    embeddings: Annotated[bool, flag("--embeddings -e", "Ask for embeddings of the prompts.", PROMPT)] = False
    score: Annotated[str | None, option("--score", "TEXT", "Score each prompt against this text.", PROMPT)] = None
    rerank: Annotated[str | None, option("--rerank", "QUERY", "Rank each prompt against this query.", PROMPT)] = None
    prefix: Annotated[str, option("--prefix", "TEXT", "Start of each custom id.", INPUT)] = "line"

    def files(self) -> list[Path]:
        """Return the files that these options name: they are inputs, too."""
        values = [self.prompt, self.system, self.score, self.rerank, *((p.partition("=")[2]) for p in self.param or ())]
        named = [value[1:] for value in values if value and value.startswith("@")]
        return [Path(name).expanduser() for name in (*named, self.schema) if name]

    def spec(self) -> RequestSpec:
        """Return the request spec; files named with @ are read. Raises UsageError."""
        from openai_batch.inputs.request_spec import RequestSpec
        from openai_batch.requests.json_schema import load_schema

        return RequestSpec(
            self.model or "",
            endpoint=self.endpoint,
            prompt=text_or_file(self.prompt, "--prompt"),
            system=text_or_file(self.system, "--system"),
            embeddings=self.embeddings,
            score=text_or_file(self.score, "--score"),
            rerank=text_or_file(self.rerank, "--rerank"),
            prefix=self.prefix,
            params=params(self.param),
            schema=load_schema(Path(self.schema).expanduser()) if self.schema is not None else None,
            images=tuple(self.image or ()),
            inline_images=self.inline_images,
            id_column=self.id_column,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """The options for the input, as typed."""

    format: Annotated[
        str | None, option("--format", "NAME", "txt, csv, tsv, jsonl, parquet, sqlite or xlsx.", INPUT)
    ] = None
    table: Annotated[
        str | None, option("--table", "NAME", "Table of a SQLite file, or sheet of a workbook.", INPUT)
    ] = None
    sql: Annotated[str | None, option("--sql", "QUERY", "SELECT over a SQLite file or other local files.", INPUT)] = (
        None
    )
    limit: Annotated[int | None, option("--limit", "N", "Use only the first N rows.", INPUT, min=1)] = None
    skip_empty: Annotated[bool, flag("--skip-empty", "Skip rows whose prompt is empty.", INPUT)] = False

    def open(self, files: list[str] | None, folder: Path) -> Inputs:
        """Return the input: these files, else the query, else standard input. `folder` is for temporary files."""
        from openai_batch.inputs.formats import Inputs

        names = files or ([] if self.sql is not None else ["-"])
        note_terminal_input(names, "reading prompts from the terminal, one per line; Ctrl-D ends them")
        return Inputs(names, folder, self.format, self.table, self.sql)

    def requests(
        self, files: list[str] | None, folder: Path, request: RequestOptions, provider: str | None
    ) -> Requests:
        """Return the requests made of the input, in `folder`."""
        from openai_batch.jobs.make_requests import make_requests

        opened, spec = self.open(files, folder), request.spec()
        return make_requests(opened, folder, spec, provider, limit=self.limit, skip_empty=self.skip_empty)

    def name(self, files: list[str] | None, output: Target | None) -> str | None:
        """Return the text that identifies this input in later runs, even if it has grown."""
        from openai_batch.jobs.input_name import name_of_input

        return name_of_input(files or [], table=self.table, sql=self.sql, output=output)


def note_prepared(made: Prepared) -> None:
    """Say which column has the prompts if the user did not name it, and how many rows were skipped."""
    if made.column is not None:
        errors.note(f"prompts from column {made.column}")
    if made.skipped:
        errors.note(f"{count_text(made.skipped, 'empty row')} skipped")
