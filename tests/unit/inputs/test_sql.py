"""Rows of an SQL query are fetched in groups that use a bounded amount of memory."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

from support.sample_tables import needs_duckdb

from openai_batch.inputs.sql import parquet_rows, query_rows

if TYPE_CHECKING:
    from pathlib import Path


@needs_duckdb
def test_few_long_rows_are_in_memory_at_a_time(tmp_path: Path) -> None:
    """Long rows of a small Parquet file or a query are not all kept in memory."""
    import duckdb

    path, made = tmp_path / "t.parquet", "SELECT repeat('x', 200000) AS text FROM range(1000)"
    with duckdb.connect(":memory:") as base:
        base.execute(f"COPY ({made}) TO '{path}' (FORMAT parquet)")
    assert path.stat().st_size < 50_000
    for rows in (parquet_rows(path, "t.parquet", tmp_path), query_rows(made, tmp_path)):
        tracemalloc.start()
        assert sum(1 for _ in rows) == 1000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 120_000_000  # all rows together have 200,000,000 bytes
