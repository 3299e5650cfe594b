"""Memory does not grow with the size of the table."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.sample_tables import needs_duckdb, write_parquet

# Peaks in KiB, including the interpreter and the imports. DuckDB also keeps row groups.
LIMIT = 60_000
LIMIT_DUCKDB = 500_000
# VmHWM starts at 0 in a new program; getrusage would include the process that started it.
PEAK = """
import sys
from contextlib import closing
from openai_batch.__main__ import main
try:
    code = main()
finally:
    found = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(found[0], file=sys.stderr)
sys.exit(code)
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc"),
]


def peak(*words: str) -> int:
    """Run the command in its own process and return its peak memory."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words, "-m", "m", "-o", "out.jsonl"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.txt"])
def test_memory_of_text_tables_does_not_grow(name: str) -> None:
    """60 MB of rows with ids need less memory than that."""
    text = "x" * 400
    head = {"t.csv": "id,text\n", "t.json": '[{"id":"first","text":"x"}'}.get(name, "")
    row = '{{"id":"{}","text":"{}"}}'
    form = {"t.csv": "{},{}\n", "t.jsonl": f"{row}\n", "t.json": f",\n{row}", "t.txt": "{} {}\n"}[name]
    with Path(name).open("w", encoding="utf-8") as handle:
        handle.write(head)
        handle.writelines(form.format(number, text) for number in range(150_000))
        handle.write("]" if name == "t.json" else "")
    words = ["--id", "id"] if name != "t.txt" else []
    assert peak("prepare", name, *words) < LIMIT
    assert Path("out.jsonl").stat().st_size > 60_000_000


@needs_duckdb
def test_memory_of_parquet_does_not_grow() -> None:
    """A Parquet file with 800 MB of text needs less than two thirds of that."""
    import duckdb

    write_parquet(Path("small.parquet"), [{"text": "x"}])
    with duckdb.connect(":memory:") as base:
        base.execute(
            "COPY (SELECT repeat(md5(i::VARCHAR), 25) AS text FROM range(1000000) t(i))"
            " TO 'big.parquet' (FORMAT parquet)"
        )
    assert peak("prepare", "small.parquet") < LIMIT_DUCKDB
    Path("out.jsonl").unlink()
    assert peak("prepare", "big.parquet") < LIMIT_DUCKDB


def test_a_view_that_makes_long_rows_is_read_in_pieces() -> None:
    """A view that gives a gigabyte of text is read in pieces."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
    with closing(sqlite3.connect("t.db")) as base:
        base.execute(f"CREATE VIEW v AS {numbers} SELECT printf('%.*c', 2000000, 'x') AS text FROM n")  # noqa: S608
    assert peak("prepare", "t.db") < LIMIT_DUCKDB
