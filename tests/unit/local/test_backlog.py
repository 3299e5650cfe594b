"""Results that wait to be written: their number is limited, and none is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from openai_batch.files.locks import WINDOWS
from openai_batch.local.backlog import MOST_ROWS, Backlog
from openai_batch.local.result_lines import ResultRecord
from openai_batch.local.running_batch import RunningBatch
from openai_batch.local.store import SUCCEEDED, BatchRecord, RowRecord, Store

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(WINDOWS, reason="the local provider does not run on Windows")
ROWS = 400


def running(folder: Path) -> tuple[Store, RunningBatch]:
    """Return a store, and a batch in it whose rows are all pending."""
    for name in ("files", "journals"):
        (folder / name).mkdir()
    (folder / "files" / "input").touch()
    store = Store(folder / "store.db")
    store.add_batch(BatchRecord("b", "/v1/chat/completions", "input", "24h", "in_progress", 0, 9e9, total=ROWS))
    batch = store.batch("b")
    assert batch is not None
    store.add_rows(batch.seq, [RowRecord(line, 0, 0, f"r{line}") for line in range(1, ROWS + 1)])
    return store, RunningBatch(batch, store, folder / "files", folder / "journals")


@pytest.mark.parametrize(("size", "most"), [(100, MOST_ROWS), (1 << 20, 16)])
def test_the_backlog_is_bounded(tmp_path: Path, size: int, most: int) -> None:
    """While the store cannot be written, a limited number of results is accepted; the next one waits."""
    store, run = running(tmp_path)
    line = ResultRecord(SUCCEEDED, b"x" * (size - 1) + b"\n")

    async def fill() -> int:
        backlog = Backlog(store)
        backlog.start()
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            taken = 0
            for number in range(1, 2 * most):
                adding = asyncio.create_task(backlog.add(run, RowRecord(number, 0, 0, ""), line))
                if not (await asyncio.wait({adding}, timeout=0.3))[0]:
                    break
                taken += 1
            other.execute("ROLLBACK")
        await adding
        await backlog.close()
        return taken

    assert asyncio.run(fill()) == most - 1
    after = store.batch("b")
    assert after == replace(run.batch, completed=most)
    done = store.rows(run.batch.seq, after=0, limit=ROWS)[:most]
    assert [(row.state, row.answer_start) for row in done] == [(SUCCEEDED, size * place) for place in range(most)]
    assert (tmp_path / "journals" / "b").stat().st_size == size * most
    run.close()
    store.close()


def test_a_batch_ends_when_its_results_are_on_the_disk(tmp_path: Path) -> None:
    """A batch does not end while one of its results is not written."""
    store, run = running(tmp_path)

    async def finish() -> None:
        backlog = Backlog(store)
        backlog.start()
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                await run.read()
                row = run.take()
                assert row is not None
                await backlog.add(run, row, ResultRecord(SUCCEEDED, b"x\n"))
            run.stop()
            await asyncio.sleep(0.5)
            assert not run.ended.is_set()
            other.execute("ROLLBACK")
        await asyncio.wait_for(run.ended.wait(), 10)
        await backlog.close()

    asyncio.run(finish())
    after = store.batch("b")
    assert after is not None
    assert after.completed == 3
    run.close()
    store.close()
