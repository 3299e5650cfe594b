"""Hints for programs: those of the library are written for the command, and say here what to call instead."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROVIDER = r"(?: -p (?P<provider>[\w.-]+))?"
_REPLACED = (
    (r"`?obatch wait (?P<job>\d+)`?", r"jobs.get(\g<job>).wait()"),
    (r"`?obatch status (?P<job>\d+)`?", r"jobs.get(\g<job>)"),
    (r"(?<!`)obatch cancel (?P<job>\d+) --give-up", r"the command `obatch cancel \g<job> --give-up`"),
    (r"obatch (?P<act>cancel|retry|download) (?P<job>\d+)(?! --)", r"jobs.get(\g<job>).\g<act>()"),
    (r"obatch retry (?P<job>\d+) --where (?P<what>[\w,]+)", r'jobs.get(\g<job>).retry("\g<what>")'),
    (r"obatch retry (?P<job>\d+) --all", r"jobs.get(\g<job>).retry(lambda cause: True)"),
    (rf"obatch recover{_PROVIDER}", r"jobs.recover()"),
    (r"`obatch ls` shows", r"jobs.list() has"),
    (r"`obatch download`", r"job.download()"),
    (r"(?<!`)\bobatch submit FILE", r"jobs.submit(FILE)"),
    (r"(?<!`)\bobatch run with the input again and", r"the same call with"),
    (
        r"(?<!`)\b(?P<words>obatch (?:rm|prepare|submit|download)(?: [^\s;,]+)*?)(?= (?:first|fetches|takes)|[;,]|$)",
        r"`\g<words>`",
    ),
    (r", or choose another name with -o", r", or choose another name"),
    (r"with -p\b", r"with provider="),
    (r"another --(?P<name>\w+)", r"another \g<name>"),
    (r"--prompt (?P<text>\"[^\"]*\")", r"prompt=\g<text>"),
    (r"--(?P<name>prompt|name|model|provider|id)\b", r"\g<name>="),
    (r"--(?P<name>again|force|dedup|strict)\b", r"\g<name>=True"),
    (r"--skip-empty\b", r"skip_empty=True"),
    (r"--resubmit-uncertain\b", r"resubmit_uncertain=True"),
    (r"--check-remote\b", r"check_remote=True"),
    (r"; if a file was taken for another kind, say what it is with --format", ""),
    (r"; or --format jsonl to read them as a table", ""),
    (r"the same command\b", r"the same call"),
)
_RULES = [(re.compile(pattern), replacement) for pattern, replacement in _REPLACED]


@contextlib.contextmanager
def hints_for_programs() -> Iterator[None]:
    """Word the hint of an error from this block for a program, and add it to the traceback too."""
    try:
        yield
    except BatchError as exc:
        exc.hint = in_python(exc.hint)
        if exc.message.startswith("--"):  # it names an option
            exc.message = in_python(exc.message)
        note = f"hint: {exc.hint}"
        if note not in getattr(exc, "__notes__", ()):
            exc.add_note(note)
        raise


def in_python(hint: str) -> str:
    """Return a hint with calls and arguments in place of commands and options. What has none stays a command."""
    for pattern, replacement in _RULES:
        hint = pattern.sub(replacement, hint)
    return hint
