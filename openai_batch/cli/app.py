"""The Typer application: all commands, in the order of the help. Each command has its own file in `commands`."""

from __future__ import annotations

import sys
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING

import typer

from .command_line import COMMANDS, RootGroup
from .help_format import SETTINGS, HelpCommand, HelpGroup, examples
from .help_topics import EXIT_CODES
from .option_groups import with_groups
from .output import use_colour

if TYPE_CHECKING:
    from collections.abc import Sequence

EPILOG = "\n\n".join(
    [
        examples("obatch run --example -p local", "obatch run prompts.txt -o answers.jsonl -m gpt-4o-mini"),
        "Exit codes:",
        *(f"  {code:<11} {text}" for code, text in EXIT_CODES.items()),
    ]
)


def build_app(words: Sequence[str] = ()) -> typer.Typer:
    """Build the application from the function that each command's file is named for.

    If `words` begin with a command, the others are left out: to import them takes longer than most commands run. Only
    `help` shows others.
    """
    wanted = {"list": "ls", "help": ""}.get(words[0], words[0]) if words else ""
    if not any(wanted in names for names in COMMANDS.values()):
        wanted = ""
    app = typer.Typer(
        name="obatch",
        cls=RootGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={**SETTINGS, "color": use_colour(sys.stdout)},
        rich_markup_mode=None,
        epilog=EPILOG,
    )
    app.callback()(_root)
    for heading, names in COMMANDS.items():
        for name in (name for name in names if wanted in {"", name}):
            own = name + "_" * iskeyword(name)
            module = import_module(f".commands.{own}", __package__)
            if hasattr(module, "GROUP"):
                app.add_typer(module.GROUP, name=name, cls=HelpGroup, rich_help_panel=heading)
                continue
            command = with_groups(getattr(module, own))
            app.command(name, cls=HelpCommand, epilog=module.EPILOG, rich_help_panel=heading)(command)
            if name == "ls":
                app.command("list", cls=HelpCommand, epilog=module.EPILOG, hidden=True)(command)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from openai_batch import __version__

        typer.echo(f"obatch {__version__}")
        raise typer.Exit


def _root(
    _version_: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
    _no_color_: bool = typer.Option(False, "--no-color", help="Write no colour; also after a command."),
) -> None:
    """Turn a file of prompts into one checked file of answers, through a Batch API.

    It never pays twice for a batch, never loses a result that was paid for, and never leaves half a file.

    JOB is a number, a name or a batch id. Without one, most commands take the job that was used last.
    """
