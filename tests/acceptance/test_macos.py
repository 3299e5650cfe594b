"""The command on a simulated macOS, on a disk without hard links (`support/macos/sitecustomize.py`)."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import ids, request, write
from support.systems import on_macos

from openai_batch.jobs.store.database import Database

if TYPE_CHECKING:
    from support.faults import FaultServer

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the simulation reads /proc")

RUN = """
from support.command import inside
done = inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl")
print(done.code, done.err)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("error", "how"), [("", "full"), ("ENOTSUP", "plain"), ("EINVAL", "plain")])
def test_results_are_synced_with_f_fullfsync(faulty: FaultServer, error: str, how: str) -> None:
    """Results and their folder are synced with F_FULLFSYNC, or with fsync if the file system does not support it.

    The results are published even if the file system has no hard links.
    """
    write("in.jsonl", [request("a")])
    told = on_macos(RUN, OBATCH_TEST_SYNCS="syncs", OBATCH_TEST_FULL_SYNC=error)
    assert told.startswith("0 ")
    assert len(faulty.batches) == 1
    assert ids("out.jsonl") == ["a"]
    synced = [line.split(" ") for line in Path("syncs").read_text(encoding="utf-8").splitlines()]
    assert {by for by, _ in synced} == {how}
    names = [Path(path).name for _, path in synced]
    assert any(name.startswith(".out.jsonl.") for name in names)
    assert Path.cwd().name in names


@pytest.mark.slow
def test_a_sync_that_fails_is_an_error(faulty: FaultServer) -> None:
    """If F_FULLFSYNC fails with an I/O error, the command fails and writes no results."""
    write("in.jsonl", [request("a")])
    told = on_macos(RUN, OBATCH_TEST_SYNCS="syncs", OBATCH_TEST_FULL_SYNC="EIO")
    assert told.startswith("1 ")
    assert not Path("out.jsonl").exists()
    assert len(faulty.batches) <= 1


def test_the_registry_uses_fullfsync(tmp_path: Path) -> None:
    """The registry is written with `PRAGMA fullfsync` on."""
    with closing(Database(tmp_path / "registry.db")) as database, database.writing() as db:
        assert isinstance(db, sqlite3.Connection)
        assert db.execute("PRAGMA fullfsync").fetchone()[0] == 1
