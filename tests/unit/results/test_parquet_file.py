"""Columns of Parquet have the types of their values, and no value is changed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from support.sample_results import chat, exported

from openai_batch.inputs.source_rows import encoded_row
from openai_batch.results import parquet_file
from openai_batch.results.export import Export
from openai_batch.results.outcome import SUCCEEDED

if TYPE_CHECKING:
    from pathlib import Path

BIG = 2**53 + 1
WHEN = datetime(2026, 1, 2, 3, 4, 5, 123456)  # noqa: DTZ001 - a column without a time zone


pytestmark = pytest.mark.skipif(
    find_spec("duckdb") is None, reason="DuckDB is not installed: pip install 'openai-batch[tables]'"
)


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        ([1, 2], "BIGINT", [1, 2]),
        ([1, BIG], "BIGINT", [1, BIG]),
        ([1, 0.5], "DOUBLE", [1.0, 0.5]),
        ([BIG, 0.5], "VARCHAR", [str(BIG), "0.5"]),
        ([2**63, 1], "VARCHAR", [str(2**63), "1"]),
        ([[BIG], [1]], "BIGINT[]", [[BIG], [1]]),
        ([[1, 0.5], [2]], "DOUBLE[]", [[1.0, 0.5], [2.0]]),
        ([[BIG, 0.5], None], "VARCHAR", [f"[{BIG},0.5]", None]),
        ([["a"], ["b", "c"]], "VARCHAR[]", [["a"], ["b", "c"]]),
        ([["a", 1], None], "VARCHAR", ['["a",1]', None]),
        ([[[0.5]], [[1.5]]], "DOUBLE[][]", [[[0.5]], [[1.5]]]),
        ([[], [1]], "VARCHAR", ["[]", "[1]"]),
        ([WHEN, None], "TIMESTAMP", [WHEN, None]),
        ([WHEN.replace(tzinfo=UTC), None], "TIMESTAMP WITH TIME ZONE", [WHEN.replace(tzinfo=UTC), None]),
        ([date(2026, 1, 2), None], "DATE", [date(2026, 1, 2), None]),
        (["2026-01-02", None], "VARCHAR", ["2026-01-02", None]),
        ([{"obatch:time": "x y"}, 1], None, None),
    ],
)
def test_a_column_has_the_type_of_its_values(
    tmp_path: Path, values: list[Any], kind: str | None, read: list[Any] | None
) -> None:
    """Whole numbers stay exact, also in lists or with other numbers; times and dates keep their types."""
    import duckdb

    columns = tmp_path / "columns"
    columns.write_bytes(b"".join(encoded_row({"x": value}) for value in values))
    export = Export("parquet", columns=columns)
    lines = [chat(str(number), "hi") for number in range(len(values))]
    out = tmp_path / "out.parquet"
    out.write_bytes(exported(export, lines, note=lambda n: export.note(n, str(n), SUCCEEDED)))
    with duckdb.connect(":memory:") as base:
        found = base.execute(f"SELECT x FROM '{out}'")  # noqa: S608 - a path of this test
        assert kind in (None, str(found.description[0][1]))
        assert read in (None, [value for (value,) in found.fetchall()])


def test_rows_in_many_files_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that comes later is null in the earlier rows."""
    import duckdb

    monkeypatch.setattr(parquet_file, "_FILE", 200)
    lines = [chat(str(n), f'{{"k{n // 30}": {n}}}') for n in range(60)]
    out = tmp_path / "out.parquet"
    out.write_bytes(exported(Export("parquet", fields=True), lines))
    with duckdb.connect(":memory:") as base:
        found = base.execute(f"SELECT custom_id, k0, k1 FROM '{out}'").fetchall()  # noqa: S608 - a path of this test
    assert found == [(str(n), n if n < 30 else None, n if n >= 30 else None) for n in range(60)]
