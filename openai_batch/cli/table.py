"""Tables on a terminal that fit its window: one line for each record, unless a column needs more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

_GAP = 2
# A text that is cut keeps this many characters while other columns can be left out instead, and then this many.
_COMFORT, _LEAST = 16, 4


class Column(NamedTuple):
    """A column of a listing."""

    heading: str
    # Give the text for a terminal and for a pipe; None if the column is not there.
    human: Callable[[dict[str, Any]], str] | None
    machine: Callable[[dict[str, Any]], str] | None
    # In a narrow window: whether its texts are cut, whether they get more lines, and whether it is left out.
    cut: bool = False
    wrap: bool = False
    optional: bool = False
    style: str = ""  # the style of its texts

    @classmethod
    def of(
        cls,
        heading: str,
        key: str,
        human: Callable[[Any], str],
        machine: Callable[[Any], str] | None = None,
        *,
        cut: bool = False,
        wrap: bool = False,
        optional: bool = False,
    ) -> Column:
        """Return the column for a value of the records, shown by these functions; a pipe gets the same by default."""
        in_pipe = machine or human
        return cls(heading, lambda r: human(r[key]), lambda r: in_pipe(r[key]), cut, wrap, optional)


def print_table(console: Console, shown: list[tuple[Column, list[str]]], style_of: Callable[[str], str]) -> None:
    """Print columns with their texts; texts without a style of their column get that of `style_of`."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
    fitted = _fitted(shown, console.width)
    for (column, _), width in fitted:
        table.add_column(column.heading, width=width, no_wrap=not column.wrap, overflow="ellipsis")
    for row in zip(*(texts for (_, texts), _ in fitted), strict=True):
        cells = zip(row, fitted, strict=True)
        table.add_row(*(Text(text, style=column.style or style_of(text)) for text, ((column, _), _) in cells))
    console.print(table)


def _fitted(shown: list[tuple[Column, list[str]]], room: int) -> list[tuple[tuple[Column, list[str]], int]]:
    """Return the columns that fit, with their widths: the last optional ones are left out, and long texts cut."""
    shown = list(shown)
    while True:
        widths = _widths(shown, room, _COMFORT)
        optional = [each for each in shown if each[0].optional]
        if _total(widths) <= room or not optional:
            break
        shown.remove(optional[-1])
    if _total(widths) > room:
        widths = _widths(shown, room, _LEAST)
    return list(zip(shown, widths, strict=True))


def _widths(shown: Sequence[tuple[Column, list[str]]], room: int, least: int) -> list[int]:
    from rich.cells import cell_len

    widths = [max(map(cell_len, [column.heading, *texts])) for column, texts in shown]
    while _total(widths) > room:
        long = [
            place for place, (column, _) in enumerate(shown) if (column.cut or column.wrap) and widths[place] > least
        ]
        if not long:
            break
        widths[max(long, key=lambda place: widths[place])] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)
