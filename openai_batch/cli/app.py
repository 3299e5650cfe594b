"""The Typer application: all commands, in the order of the help. Each command has its own file in `commands`."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from .command_line import RootGroup
from .option_groups import with_groups

COMMANDS = (
    *("run", "prepare", "check", "submit", "status", "wait", "download", "results", "retry", "cancel", "recover", "ls"),
    *("rm", "prune"),
    *("providers", "config", "serve"),
)
"""The files in `commands`, in the order of the help; each defines a function of its own name, or a GROUP."""

# One line: help on a terminal keeps every line end of this text.
EPILOG = (
    "Exit codes: 0 done, every request was answered; 1 failed, running it again is safe; 2 usage or configuration;"
    " 3 input has problems, nothing sent; 4 key missing or refused; 5 ended, but some requests did not succeed;"
    " 6 no such job, batch, file or provider; 7 unknown whether a batch was created, nothing sent twice;"
    " 124 time is up, the job keeps running; 130 or 143 interrupted, the job keeps running."
)


def build_app() -> typer.Typer:
    """Build the application from the function that each command's file is named for.

    People get Rich help; pipes get plain help and one-line errors.
    """
    app = typer.Typer(
        name="obatch",
        cls=RootGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        epilog=EPILOG,
    )
    app.callback()(_root)
    for name in COMMANDS:
        module = import_module(f".commands.{name}", __package__)
        if hasattr(module, "GROUP"):
            app.add_typer(module.GROUP, name=name)
        else:
            app.command(name, epilog=module.EPILOG)(with_groups(getattr(module, name)))
        if name == "ls":
            app.command("list", hidden=True)(with_groups(module.ls))
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
) -> None:
    """Batch inference from a file of prompts to one checked file of answers.

    Never pays twice for a batch, never loses a result that was paid for, never gives you half a file.

    A job is named by its number, its name or its batch id; most commands use the job used last by default.
    """
