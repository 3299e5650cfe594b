"""CSV that a spreadsheet cannot be made to run, and that reads back as what it was."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_batch.results.csv_file import escape_formula, write_csv

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.builds("{}{}".format, st.sampled_from(DANGEROUS), st.text("0123456789.eE+-=@,\"'\r\n\t A")),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
    st.none(),
)


def is_number(cell: str) -> bool:
    """Tell a number from a formula, as a spreadsheet would."""
    try:
        float(cell)
    except ValueError:
        return False
    return re.search(r"[^0-9.eE+-]", cell) is None


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=4), st.data())
def test_no_cell_is_a_formula_and_none_is_lost(names: list[str], data: st.DataObject) -> None:
    """Whatever the values and the headings, no cell starts like a formula, and one apostrophe less gives them back."""
    row = data.draw(st.lists(CELLS, min_size=len(names), max_size=len(names)))
    out = io.BytesIO()
    write_csv(names, [row], out)
    read = list(csv.reader(io.StringIO(out.getvalue().decode(), newline=""), strict=True))
    plain: list[list[str | None]] = [
        [*names],
        ["" if value is None else value if isinstance(value, str) else None for value in row],
    ]
    for cells, texts in zip(read, plain, strict=True):
        for cell, text in zip(cells, texts, strict=True):
            assert not cell.startswith(DANGEROUS) or is_number(cell)
            assert text is None or cell in (text, f"'{text}")


@pytest.mark.parametrize("cell", ["-1", "+2.50", "-.5", "-1e-9", "a=1", "", "'=1", "1-2"])
def test_numbers_and_harmless_cells_stay(cell: str) -> None:
    """What no spreadsheet runs is left alone."""
    assert escape_formula(cell) == cell


@pytest.mark.parametrize(
    "cell", ["=1", "-1+cmd|' /C calc'!A0", "+1 2", "-", "@SUM(A1)", "\t=1", "\r=1", "-1\n=2", "-\u0661"]
)
def test_formulas_are_put_in_text(cell: str) -> None:
    """What a spreadsheet may run starts with an apostrophe."""
    assert escape_formula(cell) == f"'{cell}"
