"""How help is printed: options in groups, one short line each, and examples that can be copied.

The group of an option is its `rich_help_panel`. A command with few options has a single group. Rich is not used, so
that help starts fast and looks the same in a terminal and in a pipe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from openai_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENTATION = "https://github.com/parasail-ai/openai-batch/blob/main/README.md"

# The words and the width of the help.
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 80}

# A command with more options than this shows them in groups.
_FEW = 16
# The width of the names of options, with their indentation: one name may be longer, and its text is then below it.
_NAMES = 26
# The groups of options in the help of commands that have many, in this order.
MAIN = "Main options"
INPUT = "Input"
PROMPT = "Prompt and model"
OUTPUT = "Output"
JOB = "Job"
SAFETY = "Never pay twice"
_OTHER = "Other options"
_ORDER = (MAIN, INPUT, PROMPT, OUTPUT, JOB, SAFETY, _OTHER)


class HelpCommand(TyperCommand):
    """A command with our help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command. Raises UsageError for `-model`, which would be `-m odel`."""
        options = {name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)}
        for word in args:
            name = word.partition("=")[0]
            if word.startswith("-") and f"-{name}" in options:
                raise UsageError(f"no such option: {name}", hint=f"did you mean -{name}?")
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command's name; required ones have no braces."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and options, in groups."""
        _write_options(self.get_params(ctx), formatter)

    def format_epilog(self, _ctx: Any, formatter: Any) -> None:
        """Write the examples and remarks."""
        _write_epilog(self.epilog or "", formatter)


class HelpGroup(TyperGroup):
    """A command with subcommands, with our help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the subcommands, in groups, and the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                heading = getattr(command, "rich_help_panel", None) or "Commands"
                groups.setdefault(heading, []).append((f"{name:<9}", first_sentence(command.help or "")))
        _write_groups(groups, formatter)
        _write_options(self.get_params(ctx), formatter)

    def format_epilog(self, _ctx: Any, formatter: Any) -> None:
        """Write the examples and remarks."""
        _write_epilog(self.epilog or "", formatter)


def examples(*commands: str, note: str = "") -> str:
    """Return the end of a help text with these commands as its examples, and a note below them."""
    return "\n\n".join(["Examples:", *(f"  $ {command}" for command in commands), *([note] if note else [])])


def first_sentence(text: str) -> str:
    """Return the first sentence of a help text, on one line."""
    return " ".join(text.split("\n\n", maxsplit=1)[0].split()).split(". ")[0].removesuffix(".")


def heading_text(text: str) -> str:
    """Return a heading in bold. Where no colour is wanted, Typer takes that out again."""
    return typer.style(f"{text}:", bold=True)


def _write_options(parameters: Iterable[Any], formatter: Any) -> None:
    shown = [each for each in parameters if not getattr(each, "hidden", False)]
    few = len(shown) <= _FEW
    groups: dict[str, list[tuple[str, str]]] = {}
    for each in shown:
        heading = "Options" if few else getattr(each, "rich_help_panel", None) or _OTHER
        groups.setdefault(heading, []).append((_names(each), _help(each)))
    _write_groups(dict(sorted(groups.items(), key=lambda group: few or _ORDER.index(group[0]))), formatter)


def _write_groups(groups: dict[str, list[tuple[str, str]]], formatter: Any) -> None:
    """Write a heading and two columns for each group; the second column begins at the same place in all of them."""
    names = [name for rows in groups.values() for name, _ in rows if len(name) <= _NAMES]
    width = max(map(len, names), default=0)
    for heading, rows in groups.items():
        formatter.write_paragraph()
        formatter.write(f"{heading_text(heading)}\n")
        formatter.indent()
        formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows], col_max=width or _NAMES)
        formatter.dedent()


def _write_epilog(text: str, formatter: Any) -> None:
    """Write headings, indented lines as they are, remarks, and where to read more."""
    for paragraph in (*text.split("\n\n"), f"Documentation: {DOCUMENTATION}"):
        if paragraph.startswith("  "):
            formatter.write(f"{paragraph}\n")
            continue
        formatter.write_paragraph()
        if paragraph.endswith(":"):
            formatter.write(f"{heading_text(paragraph.removesuffix(':'))}\n")
        else:
            formatter.write_text(paragraph.replace("\n", " "))


def _names(parameter: Any) -> str:
    """Return the spellings of an option, or the name of an argument, and what value it takes."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    short = [name for name in parameter.opts if not name.startswith("--")]
    long = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")]
    value = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
    return (f"{short[0]}, " if short else "    ") + ", ".join(long) + value


def _help(parameter: Any) -> str:
    """Return the help of a parameter, with its default if that says something."""
    text, default = parameter.help or "", parameter.default
    if parameter.required and parameter.param_type_name == "option":
        return f"{text} [required]"
    if isinstance(default, (str, int)) and not isinstance(default, bool) and default not in ("", "-"):
        return f"{text} [default: {default}]"
    return str(text)
