"""Every byte that a command prints goes through here: data to standard output, all else to standard error.

A terminal gets Rich tables and colour; a pipe gets lossless TSV; `--json` one document; `-q` bare ids.
Text of others (servers, models, files) is shown with its control characters made visible, never as markup.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

# C0 but for newline and tab, DEL, C1, zero-widths and what turns the direction of writing.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def safe(text: str) -> str:
    """Return `text` with every character that could drive a terminal written as an escape."""
    return _UNSAFE.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return `text` safe and on one line."""
    return " ".join(safe(text).split())


def counted(count: int, noun: str) -> str:
    """Return a number and what it counts, such as `1 request` and `2,000 requests`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def coloured(stream: TextIO) -> bool:
    """Tell whether `stream` takes colour: NO_COLOR and TERM=dumb forbid it, FORCE_COLOR allows it off a terminal."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


class ErrorOutput:
    """Standard error: remarks for people."""

    def console(self) -> Console:
        """Return a Rich console on standard error."""
        from rich.console import Console

        return Console(
            stderr=True,
            highlight=False,
            markup=False,
            emoji=False,
            no_color=not coloured(sys.stderr),
            force_terminal=None if sys.stderr.isatty() else False,
        )

    def line(self, label: str, text: str, style: str) -> None:
        """Write a label and a text; the label has colour where there is any."""
        if coloured(sys.stderr):
            codes = {"bold red": "1;31", "bold cyan": "1;36", "bold yellow": "1;33"}[style]
            label = f"\x1b[{codes}m{label}\x1b[0m"
        self.plain(f"{label} {safe(text)}")

    def plain(self, text: str) -> None:
        """Write a text as it is, and never fail for the sake of a remark."""
        try:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        except OSError:
            return

    def note(self, text: str) -> None:
        """Write a remark."""
        self.plain(safe(text))

    def hint(self, text: str) -> None:
        """Write what to type next."""
        self.line("hint:", text, "bold cyan")

    def warn(self, text: str) -> None:
        """Write a remark that the user should act on."""
        self.line("warning:", text, "bold yellow")


errors = ErrorOutput()


class Output:
    """Standard output, in the form that the command's flags ask for."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.terminal = sys.stdout.isatty()

    def listing(
        self,
        records: Sequence[dict[str, Any]],
        columns: Sequence[tuple[str, Callable[[dict[str, Any]], str], Callable[[dict[str, Any]], str]]],
        ids: Callable[[dict[str, Any]], str],
        empty: str,
    ) -> None:
        """Print many records; a column has a heading, what a person reads, and what a program reads."""
        if self.as_json:
            self._document(records)
        elif self.quiet:
            self.lines(ids(record) for record in records)
        elif not self.terminal:
            self.lines("\t".join(one_line(machine(r)) for _, _, machine in columns) for r in records)
        elif not records:
            errors.note(empty)
        else:
            self._table(records, columns)

    def record(self, record: dict[str, Any], quiet: str, lines: Iterable[tuple[str, str]]) -> None:
        """Print one record: `lines` are (label, value) for people and, tab-separated, for pipes."""
        if self.as_json:
            self._document(record)
        elif self.quiet:
            self.lines([quiet])
        elif not self.terminal:
            self.lines(f"{label}\t{one_line(value)}" for label, value in lines if value)
        else:
            self._grid(lines)

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines as they are."""
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def answers(self, rows: Sequence[tuple[str, str, bool, str]], more: int = 0) -> None:
        """Show results to a person: id, what was asked ("" if unknown), whether it is a success, and the answer."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
        table.add_column("id", no_wrap=True)
        known = any(asked for _, asked, _, _ in rows)
        if known:
            table.add_column("request", overflow="fold", ratio=1)
        table.add_column("answer", overflow="fold", ratio=1)
        for custom_id, asked, success, text in rows:
            cells = [Text(one_line(custom_id)), *([Text(_clipped(asked))] if known else [])]
            table.add_row(*cells, Text(safe(text.strip()), style="" if success else "red"))
        self._console().print(table)
        if more:
            errors.note(f"… and {more:,} more")

    def _document(self, value: Any) -> None:
        sys.stdout.write(json.dumps(value, indent=2 if self.terminal else None, ensure_ascii=True) + "\n")
        sys.stdout.flush()

    def _table(self, records: Sequence[dict[str, Any]], columns: Sequence[tuple[str, Any, Any]]) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
        shown = [
            (heading, texts)
            for heading, human, _ in columns
            if any(texts := [one_line(human(record)) for record in records])
        ]
        for heading, _ in shown:
            # Batch ids give way first: a job is named by its number as well, and a wide window shows them whole.
            batch = heading == "batch"
            table.add_column(heading, overflow="ellipsis" if batch else "fold", no_wrap=heading in _UNBROKEN)
        for row in zip(*(texts for _, texts in shown), strict=True):
            table.add_row(*(Text(text, style=style_of(text)) for text in row))
        self._console().print(table)

    def _grid(self, lines: Iterable[tuple[str, str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, value in lines:
            if value:
                grid.add_row(label, Text(safe(value), style=style_of(value)))
        self._console().print(grid)

    def _console(self) -> Console:
        from rich.console import Console

        return Console(highlight=False, markup=False, emoji=False, no_color=not coloured(sys.stdout))

    def _encodable(self, text: str) -> str:
        encoding = sys.stdout.encoding or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)


def _clipped(text: str, width: int = 200) -> str:
    line = one_line(text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


_UNBROKEN = ("job", "provider", "status", "done", "created", "key")
_STYLES = {
    "completed": "green",
    "failed": "red",
    "expired": "red",
    "cancelled": "yellow",
    "cancelling": "yellow",
    "in_progress": "cyan",
    "finalizing": "cyan",
    "validating": "cyan",
}


def style_of(text: str) -> str:
    """Return the colour of a status word; none for any other text."""
    return _STYLES.get(text, "")
