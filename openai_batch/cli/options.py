"""The options that several commands share, and the readers of their values. A flag means the same on every command."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from openai_batch.errors import ConfigError, UsageError
from openai_batch.net.time_span import seconds

from .help_format import JOB, MAIN, OUTPUT, SAFETY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal


def complete(kind: str) -> Any:
    """Return the function that gives a shell the ids (`jobs`) or names (`providers`) for what was typed."""

    def offer(incomplete: str) -> list[str]:
        from openai_batch.jobs.store.completion import candidates

        return [word for word, _ in candidates(kind, incomplete)]

    return offer


def option(names: str, metavar: str, text: str, group: str | None = None, **more: Any) -> Any:
    """Declare an option that takes a value: its names, what the value is, its help, and its group in the help."""
    return typer.Option(*names.split(), metavar=metavar, help=text, rich_help_panel=group, **more)


def flag(names: str, text: str, group: str | None = None) -> Any:
    """Declare an option without a value: its names, its help, and its group in the help."""
    return typer.Option(*names.split(), help=text, rich_help_panel=group)


def argument(metavar: str, text: str, group: str | None = None, **more: Any) -> Any:
    """Declare an argument: its name, its help, and its group in the help."""
    return typer.Argument(metavar=metavar, help=text, rich_help_panel=group, **more)


FilesArg = Annotated[list[str] | None, argument("FILE", "Prompts, tables or batch input files; - is stdin.", MAIN)]
ProviderOpt = Annotated[
    str | None,
    option(
        "--provider -p", "NAME", "Provider; `obatch providers` lists them.", MAIN, autocompletion=complete("providers")
    ),
]
JsonOpt = Annotated[bool, flag("--json", "Print one JSON document.")]
QuietOpt = Annotated[bool, flag("--quiet -q", "Print only what scripts need, such as ids.")]
DryRunOpt = Annotated[bool, flag("--dry-run -n", "Show what would happen; send and write nothing.", MAIN)]
ForceOpt = Annotated[bool, flag("--force", "Replace the output file if it exists.", OUTPUT)]
JobArg = Annotated[
    str | None,
    argument("JOB", "Number, name or batch id; by default the last used job.", autocompletion=complete("jobs")),
]
JobsArg = Annotated[
    list[str] | None,
    argument("JOB", "Numbers, names or batch ids; by default the last used job.", autocompletion=complete("jobs")),
]
OutputOpt = Annotated[str | None, option("--output -o", "FILE", "Output file, or s3://…; - is stdout.", MAIN)]
StrictOpt = Annotated[bool, flag("--strict", "Exit with 5 also for refused and cut answers.", OUTPUT)]
NameOpt = Annotated[str | None, option("--name", "NAME", "Name of the job, for other commands.", JOB)]
DedupOpt = Annotated[
    bool | None,
    flag("--dedup/--no-dedup", "Send identical requests once (the default, except for batch files).", SAFETY),
]
UpstreamOpt = Annotated[
    list[str] | None, option("--upstream", "URL", "OpenAI-compatible URL that runs the requests; repeatable.")
]
UpstreamKeyOpt = Annotated[
    str | None, option("--upstream-key-env", "NAME", "Environment variable with the upstream's key.")
]
ConcurrencyOpt = Annotated[
    int | None, option("--concurrency", "N", "Requests to each upstream at the same time.", min=1, max=10_000)
]
ParallelOpt = Annotated[
    int | None, option("--parallel", "N", "Parts to send or download at once. [default: 4]", JOB, min=1, max=16)
]
MaxCostOpt = Annotated[
    str | None, option("--max-cost", "USD", "Send nothing if it, with retries, can cost more.", SAFETY)
]
ModelOpt = Annotated[str | None, option("--model -m", "NAME", "Model; by default the provider's own, if any.", MAIN)]

_CLOCK = re.compile(r"\d{1,2}:\d{2}")


def moment(text: str | None) -> float | None:
    """Read a time as Unix seconds: 06:00 is the next such moment, 8h is from now; or ISO 8601. Raises UsageError."""
    if text is None:
        return None
    from datetime import UTC, datetime, timedelta

    now = datetime.now().astimezone()
    given, span = text.strip(), None
    with contextlib.suppress(UsageError):
        span = seconds(given)
    try:
        if span is not None:
            at = datetime.fromtimestamp(now.timestamp() + span, UTC)
        elif _CLOCK.fullmatch(given):
            clock = datetime.strptime(given, "%H:%M").time()  # noqa: DTZ007 - a time of day here
            at = datetime.combine(now.date(), clock)  # in the local time zone, as is the date
            if at.timestamp() <= now.timestamp():
                at += timedelta(days=1)
        else:
            at = datetime.fromisoformat(given)
        return at.timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{text!r} is not a time", hint="write it like 06:00, 8h or 2026-11-26T06:00") from None


@contextlib.contextmanager
def hints_of_options(command: str, about: str = "") -> Iterator[None]:
    """Where options are read like the configuration file, hint at the options in place of that file.

    Other errors, whose message does not contain `about`, stay as they are.
    """
    try:
        yield
    except ConfigError as exc:
        if exc.hint == ConfigError.remedy and about in exc.message:
            exc.hint = f"`obatch {command} -h` shows the options"
        raise


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
