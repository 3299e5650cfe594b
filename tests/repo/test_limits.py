"""The page of limits has the values of the code."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROWS = re.findall(
    r"^\| .+? \| ([\d,]+)[^|]* \| `([\w/]+)\.py` `(\w+)` \|$",
    (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_the_page_has_a_table() -> None:
    """The rows of the table are found."""
    assert len(ROWS) > 10


@pytest.mark.parametrize(("value", "module", "name"), ROWS, ids=[row[2] for row in ROWS])
def test_each_limit_is_that_of_the_code(value: str, module: str, name: str) -> None:
    """The number in the table is that of the code."""
    code = importlib.import_module(f"openai_batch.{module.replace('/', '.')}")
    assert getattr(code, name) == float(value.replace(",", ""))
