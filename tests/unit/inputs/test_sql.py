"""Rows of an SQL query are fetched in groups that use a bounded amount of memory."""

from __future__ import annotations

import signal
import sqlite3
import sys
import threading
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.sample_tables import needs_duckdb

from openai_batch.inputs.sql import parquet_rows, query_rows, sqlite_rows

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


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) AS text FROM c"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.usefixtures("ctrl_c")
def test_a_signal_to_another_thread_interrupts_a_query(tmp_path: Path) -> None:
    """Ctrl-C does not wait for the end of the query, also if the system gives the signal to another thread."""
    main, late = threading.main_thread().ident, threading.Event()
    assert main is not None

    def interrupt() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    def rescue() -> None:
        late.set()
        signal.pthread_kill(main, signal.SIGINT)

    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path)) as base:
        base.execute(f"CREATE VIEW v AS {ENDLESS}")
    timers = [threading.Timer(0.5, interrupt), threading.Timer(30, rescue)]
    for timer in timers:
        timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(sqlite_rows(path, "t.db", None, None))
    finally:
        for timer in timers:
            timer.cancel()
    assert not late.is_set(), "the signal to the other thread did not interrupt the query"
