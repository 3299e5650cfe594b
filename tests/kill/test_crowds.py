"""Many commands at once, some of them killed: no batch is created twice, and no reported job is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kill.conftest import FULL
from kill.sweep import Moment, World
from support.servers import wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

pytestmark = pytest.mark.slow


def test_ten_processes_submit_the_same_file(here: World) -> None:
    """Ten processes that submit the same input to an empty registry make one upload, one batch and one job."""
    here.configure(create_timeout=30, create_grace=30)  # a crowd is slow
    here.write()
    runs = [here.start(("submit", "in.jsonl", "-q")) for _ in range(10)]
    ended = [run.finish() for run in runs]
    assert [each.code for each in ended] == [0] * 10, ended
    assert {each.out for each in ended} == {"1\n"}
    assert len(here.server.batches) == len(here.server.uploads) == 1
    here.check(ended[0])


def test_twenty_processes_create_a_registry(here: World) -> None:
    """Twenty processes that find no registry create one together, and all of their jobs are in it."""
    here.configure(create_timeout=30, create_grace=30)  # a crowd is slow
    for number in range(20):
        here.write(requests=number + 1, name=f"{number}.jsonl")
    runs = [here.start(("submit", f"{number}.jsonl", "-q")) for number in range(20)]
    ended = [run.finish() for run in runs]
    assert [each.code for each in ended] == [0] * 20, ended
    assert sorted(int(each.out) for each in ended) == list(range(1, 21))
    assert len(here.server.batches) == 20
    here.check_registry()


def test_two_processes_wait_and_two_download(here: World) -> None:
    """Two processes that wait for the same job succeed, and so do two that download its results to the same file."""
    here.write("fault:steps=in_progress;content=slow")
    assert here.run("submit", "in.jsonl").code == 0
    for words in (("wait", "1"), ("download", "1", "-o", "out.jsonl"), ("run", "in.jsonl", "-o", "other.jsonl")):
        ended = [run.finish() for run in [here.start(words), here.start(words)]]
        assert [each.code for each in ended] == [0, 0], ended
    assert (here.work / "out.jsonl").read_bytes() == (here.work / "other.jsonl").read_bytes()
    assert len(here.server.batches) == 1
    here.check(ended[0])


def test_a_batch_is_polled_while_it_is_created(here: World) -> None:
    """A process that finds a batch before its creator has the answer does not disturb the creator."""
    here.configure(create_timeout=4, create_grace=1)
    here.write("fault:create=made.hang")
    submit = here.start(("submit", "in.jsonl"))
    wait_until(lambda: here.server.batches, "the creation")
    looks = [here.run("status", "1"), here.run("recover")]
    ended = submit.finish()
    assert [look.code for look in looks] == [0, 0], looks
    assert ended.code == 0, ended
    here.check(ended)


def test_two_processes_recover(here: World) -> None:
    """A second `recover` waits for the first one, and each batch is added once."""
    for number in range(3):
        here.write(requests=number + 1, name=f"{number}.jsonl")
        assert here.run("submit", f"{number}.jsonl").code == 0
    forget(here)
    points = here.run("recover", points=str(here.log / "points")).points
    forget(here)
    inserted = points.index("sql INSERT")
    writing = max(number for number, name in enumerate(points[:inserted], 1) if name == "sql BEGIN")
    first = here.start(("recover",), Moment(writing, signum=signal.SIGSTOP))
    wait_until(lambda: "T (stopped)" in Path(f"/proc/{first.pid}/status").read_text(), "the stop")
    second = here.start(("recover",))
    time.sleep(1)
    os.kill(first.pid, signal.SIGCONT)
    ended = [first.finish(), second.finish()]
    assert [each.code for each in ended] == [0, 0], ended
    here.check_registry()
    assert known_batches(here) == set(here.server.batches)


def forget(made: World) -> None:
    """Delete the registry."""
    for path in made.state.glob("registry.db*"):
        path.unlink()


def test_half_of_twenty_processes_are_killed(here: World, rng: random.Random, figures: Callable[..., None]) -> None:
    """Twenty processes submit or list in one registry while half of them are killed: no reported job is lost."""
    here.configure(create_timeout=30, create_grace=30)  # a crowd is slow
    rounds, kills, acknowledged = (15 if FULL else 2), 0, {}
    for turn in range(rounds):
        runs = {}
        for number in range(20):
            name = f"{turn}-{number}.jsonl"
            here.write(requests=turn * 20 + number + 1, name=name)
            words = rng.choice([("submit", name, "-q"), ("submit", name, "-q"), ("ls",)])
            moment = Moment(rng.randint(1, 90)) if rng.random() < 0.5 else None
            runs[name] = (words, here.start(words, moment))
        for name, (words, run) in runs.items():
            ended = run.finish()
            kills += ended.code == -9
            assert ended.code in (0, -9), (words, ended)
            if words[0] == "submit" and ended.code == 0:
                acknowledged[name] = int(ended.out)
        here.check_registry()
    with contextlib.closing(sqlite3.connect(here.state / "registry.db")) as db:
        rows = dict(db.execute("SELECT job, batch_id FROM parts").fetchall())
    for name, number in acknowledged.items():
        assert rows[number] in here.server.batches, name
    assert len(set(acknowledged.values())) == len(acknowledged)
    figures(kills=kills, acknowledged=len(acknowledged), losses=0)


def known_batches(made: World) -> set[str]:
    """Return the batches in the registry."""
    with contextlib.closing(sqlite3.connect(made.state / "registry.db")) as db:
        return {row[0] for row in db.execute("SELECT batch_id FROM parts")}
