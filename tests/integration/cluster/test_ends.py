"""How workers and batches end, what is counted then, and what starts the workers again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import COMMAND
from support.servers import wait_until

if TYPE_CHECKING:
    from .conftest import Cluster

from .test_kills import ROWS, answered, collect, repeated, start

OBATCH = shlex.join(COMMAND)
ECHO = Path(__file__).parents[2] / "support" / "echo.py"
IN_BACKGROUND = f"{OBATCH} worker {{store}} {{batch}} {{options}} --of 1 >> {{store}}/log 2>&1 &"


def later(cluster: Cluster, seconds: float) -> None:
    """Let this time pass for what the store says about starts and workers."""
    for path in [*cluster.objects("tries"), *cluster.objects("errors"), *cluster.objects("workers")]:
        at = path.stat().st_mtime - seconds
        os.utime(path, (at, at))


@pytest.mark.slow
def test_a_command_that_fails_is_run_again(cluster: Cluster) -> None:
    """What was not started is started by the same command; its words are shown line by line."""
    flag = cluster.folder / "up"
    script = f"test -e {flag} || {{ echo slurm is down; echo try later; exit 3; }} >&2; {IN_BACKGROUND}"
    cluster.configure(launcher="command", command=["sh", "-c", script])
    prompts, output = cluster.prompts(20), cluster.folder / "answers.jsonl"
    words = ["run", str(prompts), "-p", "cluster", "-m", "echo-1", "-o", str(output)]
    done = cluster.run(*words).failed(1, "failed (3): try later")
    assert "slurm is down" in done.err
    assert cluster.starts() == 0
    flag.touch()
    cluster.run(*words).succeeded()
    assert len(output.read_text().splitlines()) == 20
    assert set(cluster.asked().values()) == {1}


def test_a_command_is_not_waited_for(cluster: Cluster) -> None:
    """What it starts may keep its output open."""
    cluster.configure(launcher="command", command=["sh", "-c", f"sleep 60 & echo $! > {cluster.folder}/pid"])
    started = time.monotonic()
    start(cluster)
    assert time.monotonic() - started < 45
    os.kill(int((cluster.folder / "pid").read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_a_command_that_was_killed_is_run_again(cluster: Cluster) -> None:
    """A start that was written down, and never done, is done later."""
    cluster.configure(launcher="command", command=["sh", "-c", "kill -9 $PPID"])
    prompts, requests = cluster.prompts(ROWS), cluster.folder / "requests.jsonl"
    cluster.run("prepare", str(prompts), "-m", "echo-1", "-o", str(requests)).succeeded()
    assert cluster.run("submit", str(requests), "-p", "cluster").code == -signal.SIGKILL
    assert cluster.starts() == 1
    cluster.configure(launcher="command", command=["sh", "-c", IN_BACKGROUND])
    later(cluster, 700)
    collect(cluster)
    assert cluster.starts() == 1


@pytest.mark.slow
def test_a_worker_that_is_asked_to_end(cluster: Cluster) -> None:
    """It ends at once with what it has, and says so; workers are started again after a while."""
    cluster.configure(launcher="command", command=["sh", "-c", IN_BACKGROUND])
    start(cluster)
    wait_until(lambda: answered(cluster, 15), "the first results")
    (pid,) = cluster.workers()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not cluster.workers(), "the end of the worker", 10)
    assert not cluster.objects("workers")
    log = (cluster.store / "log").read_text()
    assert "Traceback" not in log, log
    later(cluster, 100)
    collect(cluster)
    assert cluster.starts() == 2
    assert repeated(cluster) <= 4


@pytest.mark.slow
def test_counts_of_a_cancelled_batch(cluster: Cluster) -> None:
    """What incomplete shards have is counted."""
    cluster.configure(rows_per_shard=ROWS, workers=1)
    start(cluster, 0.5)
    wait_until(lambda: answered(cluster, 6), "the first results")
    cluster.run("cancel", "1").succeeded()
    cluster.run("wait")
    (journal,) = cluster.objects("journal")
    counts = json.loads(cluster.run("status", "--json").out)["requests"]
    assert counts["completed"] == journal.read_bytes().count(b"\n") >= 6


@pytest.mark.slow
def test_an_engine_that_ends(cluster: Cluster) -> None:
    """The worker ends too, and none of its requests becomes an error."""
    engine = ["sh", "-c", f"sleep 4 | {shlex.join([sys.executable, str(ECHO)])} --port {{port}}"]
    cluster.configure(upstream=None, engine=engine, workers=1, rows_per_shard=1000)
    start(cluster, 1)
    wait_until(lambda: bool(cluster.objects("errors")), "the end of the worker", 30)
    assert "the engine ended with exit code" in cluster.objects("errors")[0].read_text()
    assert not any(b'"response":null' in path.read_bytes() for path in cluster.objects("journal"))
    cluster.configure()
    collect(cluster)


def test_files_of_others_in_the_store(cluster: Cluster) -> None:
    """They are left alone, and a batch without its input is not shown."""
    start(cluster, 0.01)
    for name in ("plans/README", "plans/x.json", f"plans/batch_{'0' * 32}.txt"):
        (cluster.store / name).write_text("hello")
    (batch,) = (cluster.store / "batches").iterdir()
    for kind, name in (("parts", "x"), ("parts", "99999999"), ("failed", "x-1"), ("workers", "x"), ("journal", "x")):
        (batch / kind).mkdir(exist_ok=True)
        (batch / kind / name).write_text("hello")
    collect(cluster)
    assert len(cluster.run("ls", "--remote", "-p", "cluster").succeeded().rows) == 1
    shutil.rmtree(next((cluster.store / "files").iterdir()))
    cluster.run("ls", "--remote", "-p", "cluster").succeeded()
    cluster.run("recover", "-p", "cluster").succeeded()


def test_blank_lines(cluster: Cluster) -> None:
    """They are no requests, in whatever shard they are, and nobody else can read what is in the store."""
    requests = cluster.folder / "requests.jsonl"
    line = '{"custom_id":"%d","method":"POST","url":"/v1/chat/completions","body":{"model":"echo-1","messages":[]}}'
    requests.write_bytes("\r\n\n \n".join(line % number for number in range(25)).encode())
    cluster.run("submit", str(requests), "-p", "cluster").succeeded()
    cluster.run("wait")
    counts = json.loads(cluster.run("status", "--json").out)["requests"]
    assert (counts["total"], counts["completed"] + counts["failed"]) == (25, 25)
    for root in (cluster.store, cluster.folder / "state"):
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
        assert not {path: oct(mode) for path, mode in modes.items() if mode & 0o077}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--concurrency", "-1"], "--concurrency must be"),
        (["--of", "0"], "--of must be"),
        (["--index", "2", "--of", "2"], "--index 2 is not from 0 to 1"),
        (["--upstream-key-env", "sk-0123456789abcdef"], "must be the name of an environment variable"),
        (["--request-timeout", "soon"], "not a time span"),
    ],
)
def test_wrong_options_of_a_worker(cluster: Cluster, words: list[str], message: str) -> None:
    """They are named, and a key is not shown."""
    given = ["worker", str(cluster.store), f"batch_{'0' * 32}", "--upstream", cluster.echo.base_url]
    done = cluster.run(*given, *words).failed(2, message)
    assert "sk-0123456789abcdef" not in done.err


@pytest.mark.slow
def test_a_cancel_while_an_engine_starts(cluster: Cluster) -> None:
    """The engine and its worker end, and the batch has ended when they have."""
    cluster.configure(upstream=None, engine=["sleep", "601"], workers=1)
    start(cluster)
    wait_until(lambda: bool(cluster.objects("workers")), "a sign of life")
    cluster.run("cancel", "1").succeeded()
    wait_until(lambda: not cluster.workers(), "the end of the worker", 20)
    assert cluster.run("status").fields["status"] == "cancelled"
    assert "sleep 601" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_workers_of_a_lost_state_folder(cluster: Cluster) -> None:
    """They still run, as their signs of life say, so they are not started a second time."""
    start(cluster, 1)
    wait_until(lambda: len(cluster.objects("workers")) == 2, "signs of life")
    shutil.rmtree(cluster.folder / "state")
    cluster.run("recover", "-p", "cluster").succeeded()
    collect(cluster)
    assert cluster.starts() == 1
    assert repeated(cluster) == 0
