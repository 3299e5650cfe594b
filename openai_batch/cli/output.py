"""Everything that a command prints goes through this file: data to standard output, the rest to standard error.

A terminal gets Rich tables and colour; a pipe gets lossless TSV; `--json` prints one document; `-q` prints bare ids.
Text from servers, models and files is never read as markup, and its control characters are escaped (`escapes.py`).
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, TypeAlias, cast

from openai_batch.escapes import escape_controls, escape_json, escape_newlines, unescaped
from openai_batch.hidden_keys import beginning

from .table import Column, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

_MAX_MESSAGE = 5_000
_MAX_CELL = 10_000
"""Characters of a message, and of a cell in a table of answers, that are shown."""

_COMMAND = re.compile(r"`[^`]+`")
_NO_BREAK = "\x1f"  # stands for a space; no message contains it, since control characters are escaped
_SIDE_BY_SIDE = 60  # the least columns of a window in which prompts and answers are side by side


def escape_to_line(text: str) -> str:
    """Return `text` on one line, with its control characters escaped."""
    return " ".join(escape_controls(text).split())


def use_colour(stream: TextIO) -> bool:
    """Return whether to write colour: on terminals or with FORCE_COLOR; never with NO_COLOR or TERM=dumb."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


class ErrorOutput:
    """Standard error: messages for people."""

    def console(self) -> Console:
        """Return a Rich console on standard error."""
        from rich.console import Console

        return Console(
            file=unescaped(sys.stderr),
            highlight=False,
            markup=False,
            emoji=False,
            no_color=not use_colour(sys.stderr),
            force_terminal=None if sys.stderr.isatty() else False,
        )

    def line(self, label: str, text: str, style: str) -> None:
        """Write a label and a text, on one line; the label is coloured if standard error takes colour."""
        codes = {"bold red": "1;31", "bold cyan": "1;36", "bold magenta": "1;35"}[style]
        shown = f"\x1b[{codes}m{label}\x1b[0m" if use_colour(sys.stderr) else label
        self._write(shown + _fitted(f"{label} {_message(text)}").removeprefix(label))

    def _write(self, text: str) -> None:
        """Write a text as it is; if standard error is closed, do nothing."""
        stream = unescaped(sys.stderr)
        try:
            stream.write(text + "\n")
            stream.flush()
        except OSError:
            return

    def note(self, text: str) -> None:
        """Write a message, on one line."""
        self._write(_fitted(_message(text)))

    def details(self, lines: Iterable[str]) -> None:
        """Write lines below an error. They are indented, so that none looks like an error or a hint."""
        for line in lines:
            self._write(_fitted(f"  {_message(line)}", "  "))

    def hint(self, text: str) -> None:
        """Write a hint: the next command to type."""
        self.line("hint:", text, "bold cyan")

    def warn(self, text: str) -> None:
        """Write a warning: a message that the user should act on."""
        self.line("warning:", text, "bold magenta")


CellText: TypeAlias = "Callable[[dict[str, Any]], str]"  # gives the text of a table's cell for a record

errors = ErrorOutput()


def note_terminal_input(files: list[str], text: str = "reading from the terminal; Ctrl-D ends the input") -> None:
    """Say `text` if one of the files is standard input and that is a terminal: the command now waits for input."""
    if "-" in files and sys.stdin.isatty():
        errors.note(text)


class TerminalText(io.RawIOBase):
    """A binary stream that writes the text written to it to standard output, with its control characters escaped."""

    def __init__(self, escape: Callable[[str], str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._escape = escape

    def write(self, data: Any) -> int:
        """Write some of the text."""
        sys.stdout.write(self._escape(self._decoder.decode(data)))
        return len(data)

    def flush(self) -> None:
        """Flush standard output."""
        sys.stdout.flush()


def json_stream() -> BinaryIO:
    """Return a binary stream for JSON to standard output: a pipe gets the bytes as they are."""
    return cast("BinaryIO", TerminalText(escape_json)) if sys.stdout.isatty() else sys.stdout.buffer


def csv_stream() -> BinaryIO:
    """Return a binary stream for CSV to standard output, which is a terminal."""
    return cast("BinaryIO", TerminalText(lambda text: escape_controls(text.replace("\r\n", "\n"))))


class JsonArray(io.RawIOBase):
    """A binary stream that turns the JSON lines written to it into one JSON array on standard output."""

    def __init__(self) -> None:
        self._before = b"["
        self._out = json_stream()

    def write(self, data: Any) -> int:
        """Write some of the lines."""
        lines = bytes(data)
        body = lines.removesuffix(b"\n")
        self._out.write(self._before + body.replace(b"\n", b",\n"))
        self._before = b",\n" if body != lines else b""
        return len(lines)

    def finish(self) -> None:
        """End the array."""
        self._out.write(b"[]\n" if self._before == b"[" else b"]\n")
        self._out.flush()


def print_json(value: Any) -> None:
    """Print one JSON document."""
    text = json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=True)
    sys.stdout.write(escape_json(text) + "\n")
    sys.stdout.flush()


class Output:
    """Standard output, in the form that `--json`, `-q` and the terminal decide."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.terminal = sys.stdout.isatty()

    def listing(self, records: Sequence[dict[str, Any]], columns: Sequence[Column], key: str, empty: str) -> None:
        """Print many records.

        With -q, only what they have under `key`; `empty` is the message if there are no records.
        """
        if self.as_json:
            print_json(records)
        elif self.quiet:
            self.lines(str(record[key]) for record in records)
        elif not records:
            errors.note(empty)
        elif not self.terminal:
            fields = [column.machine for column in columns if column.machine]
            self.rows([text(record) for text in fields] for record in records)
        else:
            self._table(records, columns)

    def record(self, record: dict[str, Any], quiet: str, lines: Iterable[tuple[str, str]]) -> None:
        """Print one record: `lines` are labels and values for terminals and pipes, `quiet` is the text for -q."""
        if self.as_json:
            print_json(record)
        elif self.quiet:
            self.lines([quiet])
        elif not self.terminal:
            self.rows(pair for pair in lines if pair[1])
        else:
            self._grid(lines)

    def clear(self) -> None:
        """Clear the terminal."""
        self._console().clear()

    def rows(self, rows: Iterable[Iterable[str]]) -> None:
        """Print rows with tabs between their cells."""
        for row in rows:
            sys.stdout.write("\t".join(map(escape_to_line, row)) + "\n")
        sys.stdout.flush()

    def lines(self, lines: Iterable[str]) -> None:
        """Print texts, each on one line."""
        for line in lines:
            sys.stdout.write(escape_newlines(line) + "\n")
        sys.stdout.flush()

    def answers(self, rows: Sequence[tuple[str, str, bool, str]], more: int = 0) -> None:
        """Print a table of results: id, prompt ("" if unknown), whether it is a success, and the answer.

        `more` is how many results the table leaves out.
        """
        from rich import box
        from rich.table import Table
        from rich.text import Text

        console = self._console()
        has_prompts = any(prompt for _, prompt, _, _ in rows)
        heads = ["id", "request", "answer"] if has_prompts else ["id", "answer"]
        shown = []
        for custom_id, prompt, success, text in rows:
            answer = Text(escape_controls(_cut(text.strip(), _MAX_CELL)), style="" if success else "red")
            shown.append([Text(_shortened(custom_id)), *([Text(_shortened(prompt))] if has_prompts else []), answer])
        if console.width < _SIDE_BY_SIDE:
            table = Table.grid("", "", padding=(0, 2, 0, 0))
            table.columns[0].style, table.columns[1].overflow = "bold", "fold"
            for cells in shown:
                for head, cell in zip(heads, cells, strict=True):
                    table.add_row(head, cell)
                table.add_row()
        else:
            table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
            table.add_column("id", no_wrap=True)
            for head in heads[1:]:
                table.add_column(head, overflow="fold", ratio=1)
            for cells in shown:
                table.add_row(*cells)
        console.print(table)
        if more:
            errors.note(f"… and {more:,} more")

    def _table(self, records: Sequence[dict[str, Any]], columns: Sequence[Column]) -> None:
        shown = [
            (column, texts)
            for column in columns
            if (human := column.human) and any(texts := [escape_to_line(human(record)) for record in records])
        ]
        print_table(self._console(), shown, style_of)

    def _grid(self, lines: Iterable[tuple[str, str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, value in lines:
            if value:
                grid.add_row(escape_to_line(label), Text(escape_controls(value), style=style_of(value)))
        self._console().print(grid)

    def _console(self) -> Console:
        from rich.console import Console

        return Console(highlight=False, markup=False, emoji=False, no_color=not use_colour(sys.stdout))


def _fitted(text: str, indent: str = "") -> str:
    """Return a message as a terminal shows it: wrapped between words, but not within a command to copy."""
    width = _window_width()
    if width is None or len(text) <= width or text.startswith("hint: obatch "):
        return text
    whole = _COMMAND.sub(lambda command: command[0].replace(" ", _NO_BREAK), text)
    lines = textwrap.fill(whole, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace(_NO_BREAK, " ")


def _window_width() -> int | None:
    """Return how many columns the window of standard error has; None if it is no terminal."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or None if sys.stderr.isatty() else None
    except (OSError, ValueError):
        return None


def _message(text: str) -> str:
    return escape_newlines(_cut(text, _MAX_MESSAGE))


def _shortened(text: str, width: int = 200) -> str:
    return _cut(escape_to_line(_cut(text, _MAX_CELL)), width)


def _cut(text: str, width: int) -> str:
    shown = beginning(text, width + 1)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


_STYLES = {
    "completed": "green",
    "failed": "red",
    "expired": "red",
    "cancelled": "magenta",
    "cancelling": "magenta",
    "in_progress": "cyan",
    "finalizing": "cyan",
    "validating": "cyan",
    "ok": "green",
    "warning": "magenta",
}


def style_of(text: str) -> str:
    """Return the colour of a status word; none for any other text."""
    return _STYLES.get(text, "")
