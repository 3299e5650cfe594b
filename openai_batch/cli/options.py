"""The options that several commands share, and the readers of their values. A flag means the same on every command."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from openai_batch.errors import UsageError
from openai_batch.net.time_span import seconds

from .help_format import INPUT, JOB, MAIN, OUTPUT, PROMPT, SAFETY

if TYPE_CHECKING:
    from decimal import Decimal


def complete(kind: str) -> Any:
    """Return the function that gives a shell the ids (`jobs`) or names (`providers`) for what was typed."""

    def offer(incomplete: str) -> list[str]:
        from openai_batch.jobs.store.completion import candidates

        return [word for word, _ in candidates(kind, incomplete)]

    return offer


ProviderOpt = Annotated[
    str | None,
    typer.Option(
        "--provider",
        "-p",
        metavar="NAME",
        help="Provider; `obatch providers` lists them.",
        autocompletion=complete("providers"),
        rich_help_panel=MAIN,
    ),
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
QuietOpt = Annotated[bool, typer.Option("--quiet", "-q", help="Print only what scripts need, such as ids.")]
DryRunOpt = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show what would happen; send and write nothing.", rich_help_panel=MAIN)
]
ForceOpt = Annotated[
    bool, typer.Option("--force", help="Replace the output file if it exists.", rich_help_panel=OUTPUT)
]
YesOpt = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
JobArg = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB",
        help="Number, name or batch id; by default the last used job.",
        autocompletion=complete("jobs"),
        show_default=False,
    ),
]
JobsArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JOB",
        help="Numbers, names or batch ids; by default the last used job.",
        autocompletion=complete("jobs"),
        show_default=False,
    ),
]
TimeoutOpt = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        metavar="TIME",
        help="Wait at most 90s, 30m, 2h; the job keeps running. A download by `run` is not limited.",
        rich_help_panel=JOB,
    ),
]
DeadlineOpt = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        metavar="TIME",
        help="Have the answers by 06:00, or in 8h: if late, cancel, and send the rest at the full price.",
        rich_help_panel=JOB,
    ),
]
NotifyOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="TARGET",
        help="When a job ends: bell, cmd:COMMAND, URL, env:NAME (see `obatch help notify`); repeatable.",
        rich_help_panel=JOB,
    ),
]
OutputOpt = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Output file, or s3://…; - is stdout.", rich_help_panel=MAIN),
]
MissingOpt = Annotated[
    str | None,
    typer.Option(
        "--missing",
        metavar="FILE",
        help="Also write failed and missing requests to FILE.",
        rich_help_panel=OUTPUT,
    ),
]
AsOpt = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="FORM",
        help="csv, parquet, rows (JSON) or raw; by default the output's name decides.",
        rich_help_panel=OUTPUT,
    ),
]
FieldsOpt = Annotated[
    bool | None,
    typer.Option(
        "--fields/--no-fields",
        help="A column for each field of JSON answers.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
StrictOpt = Annotated[
    bool,
    typer.Option("--strict", help="Exit with 5 also for refused and cut answers.", rich_help_panel=OUTPUT),
]
InertOpt = Annotated[
    bool | None,
    typer.Option(
        "--inert/--no-inert",
        help="In CSV, make formulas harmless (the default).",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
NameOpt = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Name of the job, for other commands.", rich_help_panel=JOB)
]
MetadataOpt = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="KEY=VALUE", help="Metadata for the batch; repeatable.", rich_help_panel=JOB),
]
WindowOpt = Annotated[
    str | None,
    typer.Option("--window", metavar="TIME", help="Completion window, such as 24h.", rich_help_panel=JOB),
]
ExpiryOpt = Annotated[
    str | None,
    typer.Option(
        "--output-expires-after",
        metavar="TIME",
        help="The provider deletes the results after 1h to 30d.",
        rich_help_panel=OUTPUT,
    ),
]
DedupOpt = Annotated[
    bool | None,
    typer.Option(
        "--dedup/--no-dedup",
        help="Send identical requests once (the default, except for batch files).",
        show_default=False,
        rich_help_panel=SAFETY,
    ),
]
AgainOpt = Annotated[
    bool, typer.Option("--again", help="Start a new job, even if the same one exists.", rich_help_panel=SAFETY)
]
UncertainOpt = Annotated[
    bool,
    typer.Option(
        "--resubmit-uncertain",
        help="Create a batch again if it is unknown whether it was created. You may pay twice.",
        rich_help_panel=SAFETY,
    ),
]
RemoteOpt = Annotated[
    bool,
    typer.Option(
        "--check-remote",
        help="First look for the same job from another machine.",
        rich_help_panel=SAFETY,
    ),
]
ParallelOpt = Annotated[
    int | None,
    typer.Option(
        "--parallel",
        metavar="N",
        min=1,
        max=16,
        help="Parts to send or download at once. [default: 4]",
        rich_help_panel=JOB,
        show_default=False,
    ),
]
MaxCostOpt = Annotated[
    str | None,
    typer.Option(
        "--max-cost",
        metavar="USD",
        help="Send nothing if it, with retries, can cost more.",
        rich_help_panel=SAFETY,
    ),
]
RetriesOpt = Annotated[
    int,
    typer.Option(
        "--retries",
        metavar="N",
        min=0,
        help="Retry failed requests up to N times.",
        rich_help_panel=JOB,
    ),
]
ModelOpt = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="NAME", help="Model; by default the provider's own, if any.", rich_help_panel=MAIN
    ),
]
SystemOpt = Annotated[
    str | None,
    typer.Option(
        "--system", metavar="TEXT", help="System message; may be a template, or @FILE.", rich_help_panel=PROMPT
    ),
]
ParamOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="KEY=VALUE",
        help="Request parameter; @FILE reads JSON; repeatable.",
        rich_help_panel=PROMPT,
    ),
]
PromptOpt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="TEMPLATE",
        help="Prompt of each row, like 'Label: {{ text }}', or @FILE; else the column prompt, text or messages.",
        rich_help_panel=MAIN,
    ),
]
EndpointOpt = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="NAME",
        help="chat (default), responses, embeddings, completions, moderations, images, score, rerank.",
        rich_help_panel=PROMPT,
    ),
]
SchemaOpt = Annotated[
    str | None,
    typer.Option("--schema", metavar="FILE", help="JSON schema that each answer must follow.", rich_help_panel=MAIN),
]
ImageOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--image", metavar="COLUMN", help="Column with an image's path or URL; repeatable.", rich_help_panel=INPUT
    ),
]
InlineOpt = Annotated[
    bool,
    typer.Option("--inline-images", help="Download images from URLs; send the bytes.", rich_help_panel=INPUT),
]
IdOpt = Annotated[
    str | None, typer.Option("--id", metavar="COLUMN", help="Column with the custom ids.", rich_help_panel=INPUT)
]
FormatOpt = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", help="txt, csv, tsv, jsonl, parquet, sqlite or xlsx.", rich_help_panel=INPUT
    ),
]
TableOpt = Annotated[
    str | None,
    typer.Option(
        "--table", metavar="NAME", help="Table of a SQLite file, or sheet of a workbook.", rich_help_panel=INPUT
    ),
]
SqlOpt = Annotated[
    str | None,
    typer.Option(
        "--sql",
        metavar="QUERY",
        help="SELECT over a SQLite file or other local files.",
        rich_help_panel=INPUT,
    ),
]
LimitOpt = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Use only the first N rows.", rich_help_panel=INPUT),
]
SkipEmptyOpt = Annotated[
    bool, typer.Option("--skip-empty", help="Skip rows whose prompt is empty.", rich_help_panel=INPUT)
]
EmbeddingsOpt = Annotated[
    bool,
    typer.Option("--embeddings", "-e", help="Ask for embeddings of the prompts.", rich_help_panel=PROMPT),
]
ScoreOpt = Annotated[
    str | None,
    typer.Option("--score", metavar="TEXT", help="Score each prompt against this text.", rich_help_panel=PROMPT),
]
RerankOpt = Annotated[
    str | None,
    typer.Option("--rerank", metavar="QUERY", help="Rank each prompt against this query.", rich_help_panel=PROMPT),
]
PrefixOpt = Annotated[
    str,
    typer.Option(
        "--prefix",
        metavar="TEXT",
        help="Start of each custom id.",
        rich_help_panel=INPUT,
    ),
]

_CLOCK = re.compile(r"\d{1,2}:\d{2}")


def moment(text: str | None) -> float | None:
    """Read a time as Unix seconds: 06:00 is the next such moment, 8h is from now; or ISO 8601. Raises UsageError."""
    if text is None:
        return None
    from datetime import datetime, timedelta

    now = datetime.now().astimezone()
    given = text.strip()
    with contextlib.suppress(UsageError):
        return now.timestamp() + (seconds(given) or 0.0)
    try:
        if _CLOCK.fullmatch(given):
            clock = datetime.strptime(given, "%H:%M").time()  # noqa: DTZ007 - a time of day here
            at = datetime.combine(now.date(), clock)  # in the local time zone, as is the date
            if at.timestamp() <= now.timestamp():
                at += timedelta(days=1)
        else:
            at = datetime.fromisoformat(given)
        return at.timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a time", hint="write it like 06:00, 8h or 2026-11-26T06:00") from None


def dollars(text: str | None) -> Decimal | None:
    """Read the amount of --max-cost, or None. Raises UsageError."""
    if text is None:
        return None
    from openai_batch.costs.usd import as_usd

    return as_usd(text, "--max-cost")


def pairs(texts: list[str] | None, flag: str) -> dict[str, str]:
    """Read KEY=VALUE pairs. Raises UsageError."""
    found = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not sign or not key:
            meant = text.replace(":", "=", 1) if ":" in text else f"{key or 'KEY'}=VALUE"
            raise UsageError(f"{flag} {text!r} is not KEY=VALUE", hint=f"{flag} {meant}")
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
