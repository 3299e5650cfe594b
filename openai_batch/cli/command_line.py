"""The command line as a whole: its commands in the order of the help, and options on the wrong side of a command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from openai_batch.errors import UsageError

from .help_format import HelpGroup

if TYPE_CHECKING:
    from collections.abc import Iterator


COMMANDS = {
    "All in one": ("run",),
    "Step by step": ("prepare", "check", "cost", "sample", "submit", "wait", "download"),
    "Jobs": ("ls", "status", "retry", "cancel", "recover", "rm", "prune"),
    "Results": ("results", "report", "stats", "import", "export"),
    "Setup": ("providers", "config", "doctor", "serve", "worker", "help"),
}
"""The files in `commands`, in the order of the help; each defines a function of its own name, or a GROUP.

The file of a command that is a word of Python ends in `_`, and so does its function."""


class RootGroup(HelpGroup):
    """All commands. An option before its command is an error that says where it belongs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after `obatch`. Raises UsageError for an option in the wrong place."""
        options, own = self._options(), _options_of(self)
        first = _name(args[0]) if args else ""
        if first in options and first not in own:
            before = list(_before_command(args, options))
            command, *rest = args[len(before) :] or ["COMMAND"]
            if command in self.commands and first not in _options_of(self.commands[command]):
                raise UsageError(
                    f"obatch {command} has no option {first}", hint=f"`obatch {command} -h` shows those it has"
                )
            raise UsageError(f"{first} belongs after the command", hint=shlex.join(["obatch", command, *before, *rest]))
        if "--version" in args[1:]:
            raise UsageError("--version belongs before any command", hint="obatch --version")
        return super().parse_args(ctx, args)

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the commands in the order of the help; Typer puts those with subcommands last."""
        return [*(name for names in COMMANDS.values() for name in names), "list"]

    def _options(self) -> dict[str, bool]:
        """Return the options of all commands, each with whether the next word is its value."""
        found: dict[str, bool] = {}
        for command in self.commands.values():
            found |= _options_of(command)
        return found


def _options_of(command: Any) -> dict[str, bool]:
    """Return the options of a command, each with whether the next word is its value."""
    return {
        name: not getattr(parameter, "is_flag", False)
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    }


def _name(word: str) -> str:
    """Return the option in a word that may also contain its value; any other word as it is."""
    return word.partition("=")[0] if word.startswith("--") else word[:2] if word.startswith("-") else word


def _before_command(args: list[str], options: dict[str, bool]) -> Iterator[str]:
    """Yield the words before the command: options and their values."""
    is_value = False
    for word in args:
        if not is_value and not word.startswith("-"):
            return
        yield word
        is_value = not is_value and options.get(word, False)
