"""A registry that is damaged, deleted, or on another machine: no traceback, no second batch, batches are found."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest
from kill.conftest import FULL

from openai_batch.jobs.store import database, migrations, registry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from kill.sweep import World

pytestmark = pytest.mark.slow


HITS = 200 if FULL else 40


def test_random_damage(here: World, rng: random.Random, figures: Callable[..., None]) -> None:
    """With 16 random bytes anywhere in the registry, the command continues with its batch or stops; it pays once."""
    here.write()
    assert here.run("run", "in.jsonl", "-o", "out.jsonl").code == 0
    whole = (here.state / "registry.db").read_bytes()
    stuck = aside = 0
    for _ in range(HITS):
        place = rng.randrange(len(whole) - 16)
        hit = whole[:place] + rng.randbytes(16) + whole[place + 16 :]
        (here.state / "registry.db").write_bytes(hit)
        ended = [here.run("submit", "in.jsonl") for _ in range(3)]
        assert all(each.code in (0, 1, 7) for each in ended), (place, ended)
        assert len(here.server.batches) == 1, (place, ended)
        stuck += ended[-1].code != 0
        damaged = list(here.state.glob("registry.db*damaged*"))
        aside += bool(damaged)
        for path in damaged:
            path.unlink()
        for path in here.state.glob("registry.db*"):
            path.unlink()
    figures(hits=HITS, set_aside=aside, stopped=stuck, doubles=0)


def test_another_machine(here: World) -> None:
    """On another machine with the same key, every batch is added once, and its results are the same bytes."""
    for number in range(3):
        here.write(requests=number + 2, name=f"{number}.jsonl")
        assert here.run("run", f"{number}.jsonl", "-o", f"{number}.out").code == 0
    shutil.rmtree(here.state)
    first = here.run("recover", "-q")
    second = here.run("recover", "-q")
    assert (first.code, second.code) == (0, 0), (first, second)
    assert len(first.out.split()) == 3
    assert second.out == ""
    for number in range(3):
        ended = here.run("run", f"{number}.jsonl", "-o", f"{number}.again")
        assert ended.code == 0, ended
        assert (here.work / f"{number}.again").read_bytes() == (here.work / f"{number}.out").read_bytes()
    assert len(here.server.batches) == 3
    here.check_registry()
    here.check_tidy()


def test_job_numbers_that_restart(here: World) -> None:
    """In a new registry, job 1 does not use anything that an older job 1 has kept."""
    here.write(requests=2, name="old.jsonl")
    assert here.run("run", "old.jsonl", "-o", "old.out").code == 0
    for path in here.state.glob("registry.db*"):
        path.unlink()
    here.server.batches.clear()
    here.write(requests=5, name="new.jsonl")
    ended = here.run("run", "new.jsonl", "-o", "new.out")
    assert ended.code == 0, ended
    assert "job 1 " in ended.err
    assert (here.work / "new.out").read_bytes().count(b"\n") == 5


def test_a_migration_keeps_a_copy(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with an earlier schema is copied before it is changed, and its content is still there."""
    here.write()
    assert here.run("submit", "in.jsonl").code == 0
    steps = (*migrations.MIGRATIONS, ("ALTER TABLE jobs ADD COLUMN later TEXT",))
    monkeypatch.setattr(database, "MIGRATIONS", steps)
    monkeypatch.setattr(database, "VERSION", len(steps))
    opened = registry.Registry(here.state / "registry.db")
    opened.set_job(1, answered=4)
    assert opened.job(1).answered == 4
    opened.close()
    copy = here.state / f"registry.db.schema-{len(steps) - 1}"
    assert copy.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(steps) - 1,)
        assert db.execute("SELECT answered FROM jobs").fetchall() == [(None,)]
    ended = here.run("submit", "in.jsonl")
    assert ended.code == 1
    assert "newer obatch" in ended.err
    assert len(here.server.batches) == 1


def test_damage_to_the_identity_of_a_job(here: World) -> None:
    """If one character of a job's identity changes, in the table or in its index, the job is not paid again."""
    here.write()
    assert here.run("submit", "in.jsonl").code == 0
    registry = here.state / "registry.db"
    whole = registry.read_bytes()
    with contextlib.closing(sqlite3.connect(registry)) as db:
        identity = db.execute("SELECT identity FROM jobs").fetchone()[0].encode()
    places = [found.start() for found in re.finditer(re.escape(identity), whole)]
    assert len(places) == 2
    for place in places:
        registry.write_bytes(whole[:place] + (b"0" if identity[:1] != b"0" else b"1") + whole[place + 1 :])
        assert {here.run("submit", "in.jsonl").code for _ in range(3)} <= {0, 1}
        assert here.run("submit", "in.jsonl").code == 0
        assert len(here.server.batches) == 1
        for path in here.state.glob("registry.db*"):
            path.unlink()


def test_damage_to_the_number_of_a_job(here: World) -> None:
    """An index and a table that disagree about a job's number are reported as damage, and the batch is found again."""
    here.write()
    assert here.run("submit", "in.jsonl").code == 0
    registry = here.state / "registry.db"
    whole = bytearray(registry.read_bytes())
    with contextlib.closing(sqlite3.connect(registry)) as db:
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    start = (page - 1) * size
    cell = start + int.from_bytes(whole[start + 8 : start + 10])
    number = cell + 1 + (whole[cell] >= 0x80)  # after the length of the row, which may have two bytes
    assert whole[number] == 1
    whole[number] = 9
    for command in (["status", "1"], ["submit", "in.jsonl"]):
        registry.write_bytes(whole)
        ended = here.run(*command)
        assert ended.code == 1, ended
        assert "damaged" in ended.err
        assert here.run("submit", "in.jsonl").code == 0
        assert here.run("submit", "in.jsonl").code == 0
        assert len(here.server.batches) == 1
        for path in here.state.glob("registry.db*"):
            path.unlink()


def test_damage_to_the_schema(here: World) -> None:
    """A renamed column and an unknown file format are reported as damage, and the batch is found again."""
    here.write()
    assert here.run("submit", "in.jsonl").code == 0
    registry = here.state / "registry.db"
    whole = registry.read_bytes()
    for hit in (whole.replace(b" usage TEXT", b" usagX TEXT"), whole[:47] + b"\x09" + whole[48:]):
        assert hit != whole
        registry.write_bytes(hit)
        ended = here.run("submit", "in.jsonl")
        assert ended.code == 1, ended
        assert "damaged" in ended.err
        assert here.run("submit", "in.jsonl").code == 0
        assert here.run("submit", "in.jsonl").code == 0
        assert len(here.server.batches) == 1
        for path in here.state.glob("registry.db*"):
            path.unlink()
