"""Hints for programs: those of the library are written for the command; this module says what to call instead."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from openai_batch.errors import Problem

_PROVIDER = r"(?: -p (?P<provider>[\w.-]+))?"
_REPLACED = (
    (r"`?obatch wait (?P<job>\d+)`?", r"jobs.get(\g<job>).wait()"),
    (r"`?obatch status (?P<job>\d+)`?", r"jobs.get(\g<job>)"),
    (r"`?obatch retry (?P<job>\d+) -p NAME`?", r"jobs.get(\g<job>).retry(provider=NAME)"),
    (r"(?<!the command )(?=`obatch cancel \d+ --give-up`)", r"the command "),
    (r"`?obatch (?P<act>cancel|retry|download) (?P<job>\d+)\b(?! --)`?", r"jobs.get(\g<job>).\g<act>()"),
    (r"`?obatch retry (?P<job>\d+) --where (?P<what>[\w,]+)`?", r'jobs.get(\g<job>).retry("\g<what>")'),
    (r"`?obatch retry (?P<job>\d+) --all`?", r"jobs.get(\g<job>).retry(lambda cause: True)"),
    (rf"`?obatch recover{_PROVIDER}`?", r"jobs.recover()"),
    (r"`obatch ls` shows", r"jobs.list() has"),
    (r"`obatch download`", r"job.download()"),
    (r"`obatch run FILE`", r"jobs.submit(FILE)"),
    (r"`obatch run` with the input again and", r"the same call with"),
    (r"; `-o -` is standard output", ""),
    (r"--score \"{{ column }}\", or a text", "give requests with text_1 and text_2 to Jobs.submit"),
    (r"--rerank .*", "give requests with documents and query to Jobs.submit"),
    (r"--answer names", "answer= names"),
    (r"with -m\b", "with model="),
    (r"with -p\b", r"with provider="),
    (r", or - for standard input", ""),
    (r"write the prompt to a file, .*; - is standard input", "give prompts to openai_batch.map, in a list"),
    (r"another --(?P<name>\w+)", r"another \g<name>"),
    (r"--prompt (?P<text>\"[^\"]*\"|'[^']*')", r"prompt=\g<text>"),
    (r"--image\b", "images="),
    (r"--max-cost\b(?: (?P<most>[\d.]+))?", r"max_cost=\g<most>"),
    (r"--param (?P<name>\w+)=N", r"params={'\g<name>': N}"),
    (r'endpoint="(?P<path>/v1/[^"]+)"', r'{"url": "\g<path>", "body": {…}}'),
    (r"--embeddings\b", "embed()"),
    (r"--(?P<name>prompt|name|model|provider|id|schema|system)\b", r"\g<name>="),
    (r"--(?P<name>again|force|dedup|strict)\b", r"\g<name>=True"),
    (r"--skip-empty\b", r"skip_empty=True"),
    (r"--resubmit-uncertain\b", r"resubmit_uncertain=True"),
    (r"--check-remote\b", r"check_remote=True"),
    (r"; if a file was taken for another kind, say what it is with --format", ""),
    (r"; or --format jsonl to read them as a table", ""),
    (r"; if this is not a table, --format txt", ""),
    (r"write at least one row below the header", "give at least one row"),
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
        if isinstance(exc, InputError):
            exc.details = tuple(_with_remedies(exc.details, exc.problems))
        note = f"hint: {exc.hint}"
        if note not in getattr(exc, "__notes__", ()):
            exc.add_note(note)
        raise


def _with_remedies(lines: Iterable[str], problems: Iterable[Problem]) -> Iterator[str]:
    """Yield lines with their remedies worded for programs; what comes before a remedy may be a user's text."""
    remedies = sorted({problem.remedy for problem in problems if problem.remedy}, key=len, reverse=True)
    for line in lines:
        remedy = next((each for each in remedies if line.endswith(each)), "")
        yield line.removesuffix(remedy) + in_python(remedy)


def in_python(hint: str) -> str:
    """Return a hint with calls and arguments instead of commands and options. Commands without a call remain."""
    for pattern, replacement in _RULES:
        hint = pattern.sub(replacement, hint)
    return hint
