"""The maximum length of a line, which an environment variable can change."""

from __future__ import annotations

import io

import pytest

from openai_batch.errors import UsageError
from openai_batch.files.lines import LINE_VARIABLE, MAX_LINE_BYTES, lines, max_line_bytes


def test_the_variable_sets_the_longest_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable sets the maximum, and only the length of a longer line is returned."""
    assert max_line_bytes() == MAX_LINE_BYTES
    monkeypatch.setenv(LINE_VARIABLE, "1_000")
    found = [raw for _, _, raw in lines(io.BytesIO(b"a" * 1000 + b"\n" + b"b" * 1001))]
    assert found == [b"a" * 1000, 1001]
    monkeypatch.setenv(LINE_VARIABLE, "20000000")
    assert max_line_bytes() == 20_000_000


@pytest.mark.parametrize("given", ["ten", "-1", "999", "1e9", "9" * 30, "٣٠٠٠"])
def test_an_invalid_length_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid value is an error that names the variable."""
    monkeypatch.setenv(LINE_VARIABLE, given)
    with pytest.raises(UsageError, match=LINE_VARIABLE):
        max_line_bytes()
