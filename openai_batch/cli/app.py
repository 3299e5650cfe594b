"""The Typer application: all commands, in the order of the help. Each command has its own file in `commands`."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from .command_line import RootGroup
from .help_format import HelpCommand, HelpGroup
from .help_topics import EXIT_CODES
from .option_groups import with_groups
from .output import use_colour

COMMANDS = {
    "All in one": ("run",),
    "Step by step": (
        "prepare",
        "check",
        "cost",
        "sample",
        "stats",
        "submit",
        "status",
        "wait",
        "download",
        "results",
        "report",
    ),
    "Jobs": ("ls", "retry", "cancel", "recover", "rm", "prune"),
    "Setup": ("providers", "config", "doctor", "serve", "help"),
}
"""The files in `commands`, in the order of the help; each defines a function of its own name, or a GROUP."""

EPILOG = "Exit codes:\n\n" + "\n\n".join(f"  {code:<11} {text}" for code, text in EXIT_CODES.items())


def build_app() -> typer.Typer:
    """Build the application from the function that each command's file is named for."""
    app = typer.Typer(
        name="obatch",
        cls=RootGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "color": use_colour(sys.stdout)},
        rich_markup_mode=None,
        epilog=EPILOG,
    )
    app.callback()(_root)
    for heading, names in COMMANDS.items():
        for name in names:
            module = import_module(f".commands.{name}", __package__)
            if hasattr(module, "GROUP"):
                app.add_typer(module.GROUP, name=name, cls=HelpGroup, rich_help_panel=heading)
                continue
            command = with_groups(getattr(module, name))
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
    _no_color_: bool = typer.Option(False, "--no-color", help="Write no colour; it may stand after a command too."),
) -> None:
    """Batch inference from a file of prompts to one checked file of answers.

    Never pays twice for a batch, never loses a result that was paid for, never gives you half a file.

    JOB is a number, a name or a batch id; most commands use the job used last by default.
    """
