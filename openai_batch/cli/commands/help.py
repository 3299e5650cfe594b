"""`obatch help`: the help of a command, or of a topic."""

from __future__ import annotations

import difflib
from typing import Annotated, Any

import typer

from openai_batch.cli.help_format import DOCUMENTATION, examples, heading_text
from openai_batch.cli.help_topics import TOPICS
from openai_batch.cli.options import argument
from openai_batch.errors import UsageError

EPILOG = examples("obatch help run", "obatch help exit-codes", note=f"Topics: {', '.join(TOPICS)}.")


def help(  # noqa: A001 - the command's name
    context: typer.Context,
    words: Annotated[
        list[str] | None, argument("TOPIC", "A command or a topic; by default the list of commands.")
    ] = None,
) -> None:
    """Show the help of a command, or of a topic."""
    root: Any = context.parent
    if words and len(words) == 1 and words[0] in TOPICS:
        first, _, text = TOPICS[words[0]].partition("\n")
        shown = heading_text(first.removesuffix(":")) if first.endswith(":") else first
        typer.echo(f"{shown}\n{text}\nDocumentation: {DOCUMENTATION}")
        return
    command, context = root.command, root
    for word in words or []:
        commands = getattr(command, "commands", {})
        if word not in commands:
            raise _unknown(word, [*commands, *TOPICS])
        command = commands[word]
        context = type(context)(command, info_name=word, parent=context)
    typer.echo(command.get_help(context))


def _unknown(word: str, known: list[str]) -> UsageError:
    near = difflib.get_close_matches(word, known, 1)
    hint = f"obatch help {near[0]}" if near else f"`obatch -h` lists the commands; topics: {', '.join(TOPICS)}"
    return UsageError(f"no command or topic {word!r}", hint=hint)
