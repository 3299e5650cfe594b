"""The options that several commands share, and the readers of their values. A flag means the same on every command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from openai_batch.errors import UsageError


def _complete(kind: str) -> Any:
    """Return the function that gives a shell the ids (`jobs`) or names (`providers`) for what was typed."""

    def complete(incomplete: str) -> list[str]:
        from openai_batch.jobs.store.completion import candidates

        return [word for word, _ in candidates(kind, incomplete)]

    return complete


ProviderOpt = Annotated[
    str | None,
    typer.Option(
        "--provider",
        "-p",
        metavar="NAME",
        help="Provider profile; see `obatch providers`. OBATCH_PROVIDER names the default.",
        autocompletion=_complete("providers"),
    ),
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
QuietOpt = Annotated[bool, typer.Option("--quiet", "-q", help="Print bare ids only.")]
DryRunOpt = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would happen; send and write nothing.")]
ForceOpt = Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")]
YesOpt = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
JobArg = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB",
        help="Number, name or batch id of a job; by default the one used last.",
        autocompletion=_complete("jobs"),
        show_default=False,
    ),
]
JobsArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JOB",
        help="Numbers, names or batch ids of jobs; by default the one used last.",
        autocompletion=_complete("jobs"),
        show_default=False,
    ),
]
TimeoutOpt = Annotated[
    str | None,
    typer.Option(
        "--timeout", metavar="TIME", help="Wait at most this long (90s, 30m, 12h, 2d); the job keeps running."
    ),
]
OutputOpt = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Output file; - is stdout.")]
MissingOpt = Annotated[
    str | None,
    typer.Option("--missing", metavar="FILE", help="Write failed and missing requests to this file, ready to submit."),
]
AsOpt = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="FORM",
        help="csv, parquet, rows (JSON lines) or raw (the provider's lines); by default the output's name decides.",
    ),
]
FieldsOpt = Annotated[
    bool | None,
    typer.Option("--fields/--no-fields", help="Add a column for each field of JSON answers.", show_default=False),
]
StrictOpt = Annotated[bool, typer.Option("--strict", help="Exit with 5 also for refused requests and cut answers.")]
InertOpt = Annotated[
    bool | None,
    typer.Option(
        "--inert/--no-inert", help="In CSV, put an apostrophe before formulas; the default.", show_default=False
    ),
]
NameOpt = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the job.")]
MetadataOpt = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="Metadata for the batch; repeatable.")
]
WindowOpt = Annotated[str | None, typer.Option("--window", metavar="TIME", help="Completion window, such as 24h.")]
DedupOpt = Annotated[
    bool | None,
    typer.Option(
        "--dedup/--no-dedup",
        help="Send identical requests once; the default for prompts and tables, but not for batch files.",
        show_default=False,
    ),
]
AgainOpt = Annotated[bool, typer.Option("--again", help="Start a new job even if the same one was started before.")]
UncertainOpt = Annotated[
    bool,
    typer.Option(
        "--resubmit-uncertain",
        help="Create a batch again when it is unknown whether it was created; you may pay twice.",
    ),
]
RemoteOpt = Annotated[
    bool, typer.Option("--check-remote", help="First check whether another machine has started the same job.")
]
RetriesOpt = Annotated[
    int,
    typer.Option(
        "--retries", metavar="N", min=0, help="Send failed requests again up to this many times, where that can help."
    ),
]
ModelOpt = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", help="Model; by default the one that the profile names, if any."),
]
SystemOpt = Annotated[
    str | None, typer.Option("--system", metavar="TEXT", help="System message of each request; may be a template.")
]
ParamOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--param", metavar="KEY=VALUE", help="Parameter of each request: JSON, text, or @FILE with JSON; repeatable."
    ),
]
PromptOpt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="TEMPLATE",
        help="Prompt for each row, with columns as {{ name }}, or @FILE; by default column prompt, text or messages.",
    ),
]
EndpointOpt = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="NAME",
        help="chat, responses, embeddings, completions, moderations, images, score or rerank; chat by default.",
    ),
]
SchemaOpt = Annotated[
    str | None, typer.Option("--schema", metavar="FILE", help="JSON schema that each answer must follow.")
]
ImageOpt = Annotated[
    list[str] | None,
    typer.Option("--image", metavar="COLUMN", help="Column with an image's path or URL; repeatable."),
]
InlineOpt = Annotated[bool, typer.Option("--inline-images", help="Download images from their URLs and send the bytes.")]
IdOpt = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Column with the custom ids.")]
FormatOpt = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="Input format: txt, csv, tsv, jsonl, parquet, sqlite or xlsx."),
]
TableOpt = Annotated[
    str | None, typer.Option("--table", metavar="NAME", help="Table of a SQLite database, or sheet of a workbook.")
]
SqlOpt = Annotated[
    str | None,
    typer.Option(
        "--sql", metavar="QUERY", help="SELECT query over a SQLite database, or over the local files that it names."
    ),
]
LimitOpt = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Use only the first N rows.")]
SkipEmptyOpt = Annotated[bool, typer.Option("--skip-empty", help="Skip rows whose prompt is empty.")]
EmbeddingsOpt = Annotated[bool, typer.Option("--embeddings", "-e", help="Ask for embeddings of the prompts.")]
ScoreOpt = Annotated[str | None, typer.Option("--score", metavar="TEXT", help="Score each prompt against this text.")]
RerankOpt = Annotated[
    str | None, typer.Option("--rerank", metavar="QUERY", help="Rank each prompt against this query.")
]
PrefixOpt = Annotated[
    str, typer.Option("--prefix", metavar="TEXT", help="Start of each custom id; the line or row number follows.")
]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str | None) -> float | None:
    """Read a time span such as 90s, 30m, 12h or 2d; a bare number is seconds. Raises UsageError."""
    if text is None:
        return None
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a time span", hint="write it like 90s, 30m, 12h or 2d")
    return float(match[1]) * _SECONDS[match[2]]


def pairs(texts: list[str] | None, flag: str) -> dict[str, str]:
    """Read KEY=VALUE pairs. Raises UsageError."""
    found = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UsageError(f"{flag} {text!r} is not KEY=VALUE")
        found[key] = value
    return found


def params(texts: list[str] | None) -> dict[str, Any]:
    """Read request parameters: a value that is valid JSON is used as JSON, any other as text.

    `@FILE` reads JSON from a file; a text that begins with @ is written `@@`. Raises UsageError.
    """
    found: dict[str, Any] = {}
    for key, value in pairs(texts, "--param").items():
        content = text_or_file(value, "--param")
        try:
            found[key] = msgspec.json.decode(str(content).encode())
        except (msgspec.MsgspecError, UnicodeError) as exc:
            if content is not value and not value.startswith("@@"):
                raise UsageError(f"--param {key}: {value[1:]} is not valid JSON: {exc}", hint="fix the file") from None
            found[key] = content
    return found


def text_or_file(value: str | None, flag: str) -> str | None:
    """Return a text, or for `@FILE` the content of that file without its last newline; `@@` at the start means `@`.

    Raises UsageError if the file cannot be read.
    """
    if value is None or not value.startswith("@"):
        return value
    if value.startswith("@@"):
        return value[1:]
    try:
        return Path(value[1:]).expanduser().read_bytes().decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except OSError as exc:
        message = f"{flag} {value}: {exc.strerror}"
        raise UsageError(message, hint="@ names a file; a text that begins with @ is written @@") from None
    except UnicodeDecodeError:
        raise UsageError(f"{flag} {value}: the file is not UTF-8", hint="save it as UTF-8") from None
