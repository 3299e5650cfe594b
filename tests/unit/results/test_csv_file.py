"""CSV output contains no formulas, and reads back as the original values."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sample_results import answered, chat, exported

from openai_batch.inputs.source_rows import encoded_row
from openai_batch.results.csv_file import csv_cells, csv_line, escape_formula
from openai_batch.results.export import Export
from openai_batch.results.outcome import SUCCEEDED

if TYPE_CHECKING:
    from pathlib import Path

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.builds("{}{}".format, st.sampled_from(DANGEROUS), st.text("0123456789.eE+-=@,\"'\r\n\t A")),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
    st.none(),
)


def is_number(cell: str) -> bool:
    """Return whether a cell is a number to a spreadsheet, and not a formula."""
    try:
        float(cell)
    except ValueError:
        return False
    return re.search(r"[^0-9.eE+-]", cell) is None


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=4), st.data())
def test_no_cell_is_a_formula_and_none_is_lost(names: list[str], data: st.DataObject) -> None:
    """No cell starts like a formula, and removing one apostrophe gives the original value."""
    row = data.draw(st.lists(CELLS, min_size=len(names), max_size=len(names)))
    out = csv_line(names) + csv_line(row)
    read = list(csv.reader(io.StringIO(out.decode(), newline=""), strict=True))
    plain: list[list[str | None]] = [
        [*names],
        ["" if value is None else value if isinstance(value, str) else None for value in row],
    ]
    for cells, texts in zip(read, plain, strict=True):
        for cell, text in zip(cells, texts, strict=True):
            assert not cell.startswith(DANGEROUS) or is_number(cell)
            assert text is None or cell in (text, f"'{text}")


@pytest.mark.parametrize("cell", ["-1", "+2.50", "-.5", "-1e-9", "a=1", "", "'=1", "1-2"])
def test_numbers_and_harmless_cells_are_unchanged(cell: str) -> None:
    """A cell that a spreadsheet does not run is not changed."""
    assert escape_formula(cell) == cell


@pytest.mark.parametrize(
    "cell", ["=1", "-1+cmd|' /C calc'!A0", "+1 2", "-", "@SUM(A1)", "\t=1", "\r=1", "-1\n=2", "-\u0661"]
)
def test_formulas_become_text(cell: str) -> None:
    """A cell that a spreadsheet may run gets an apostrophe in front."""
    assert escape_formula(cell) == f"'{cell}"


@given(st.lists(CELLS, min_size=2, max_size=4))
def test_a_line_equals_that_of_pythons_module(row: list[str | float | None]) -> None:
    """A line has the same quotes as one of Python's csv module."""
    out = io.StringIO(newline="")
    texts = [repr(value) if isinstance(value, float) else value for value in row]
    csv.writer(out).writerow(texts)
    assert csv_line(texts, safe=False) == out.getvalue().encode()


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=4))
def test_lines_are_split_into_their_cells(rows: list[list[str | float | None]]) -> None:
    """A line is split into its cells as they are written."""
    lines = io.BytesIO(b"".join(map(csv_line, rows)))
    assert [b",".join(cells) + b"\r\n" for cells in csv_cells(lines)] == list(map(csv_line, rows))
    lines.seek(0)
    assert list(map(len, csv_cells(lines))) == list(map(len, rows))


def test_later_columns_are_empty_in_earlier_rows(tmp_path: Path) -> None:
    """Columns that come later are empty in earlier rows; formulas are escaped once, and cells may be very long."""
    columns = tmp_path / "columns"
    kept = [{}, {"a": "=1"}, {"b": 'x,\r\n"y"'}, {"a": ""}]
    columns.write_bytes(b"".join(map(encoded_row, kept)))
    long = "long " * 50_000
    lines = [
        answered("0", {"error": {"message": "no"}}, 500),
        chat("1", '{"p": "-1+2"}'),
        chat("2", long),
        chat("3", '{"q": 1, "p": null}'),
    ]
    export = Export("csv", fields=True, columns=columns)
    text = exported(export, lines, note=lambda n: export.note(n, str(n), SUCCEEDED)).decode()
    limit = csv.field_size_limit(1_000_000)
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    finally:
        csv.field_size_limit(limit)
    assert header[:6] == ["custom_id", "a", "b", "p", "q", "answer"]
    assert [row[:6] for row in rows] == [
        ["0", "", "", "", "", ""],
        ["1", "'=1", "", "'-1+2", "", '{"p": "-1+2"}'],
        ["2", "", 'x,\r\n"y"', "", "", long],
        ["3", "", "", "", "1", '{"q": 1, "p": null}'],
    ]
    assert {len(row) for row in rows} == {len(header)}


def test_cells_that_are_not_text() -> None:
    """Times are written as in ISO 8601, NaN is empty, and other values are JSON."""
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    row = [date(2026, 1, 2), when, float("nan"), True, -1, 10**25, 0.5, [1, float("inf")], {"a": "b"}]
    assert csv_line(row).decode() == (
        '2026-01-02,2026-01-02T03:04:05Z,,true,-1,10000000000000000000000000,0.5,"[1,null]","{""a"":""b""}"\r\n'
    )
