"""Generate the reference of the command, `docs/cli.md`, from its own help.

python -m openai_batch.cli.help_pages docs/cli.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from .app import build_app
from .help_format import SETTINGS
from .help_topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = """# The command

The help of every command and topic, as `obatch help` prints it. This page is generated:
`python -m openai_batch.cli.help_pages docs/cli.md`.
"""


def page() -> str:
    """Return the page."""
    topics = ((f"obatch help {name}", text) for name, text in TOPICS.items())
    texts = [*_commands(typer.main.get_command(build_app()), "obatch", None), *topics]
    blocks = [f"## {title}\n\n```text\n{text.strip()}\n```\n" for title, text in texts]
    return re.sub(r"\x1b\[[0-9]+m", "", "\n".join([_START, *blocks]))


def _commands(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    """Yield the name and the help of a command, and of those below it."""
    context = typer.Context(command, info_name=name, parent=parent, terminal_width=78, **SETTINGS)
    yield context.command_path, command.get_help(context)
    if hasattr(command, "commands"):
        for child in command.list_commands(context):
            if not command.commands[child].hidden:
                yield from _commands(command.commands[child], child, context)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
