"""How workers and batches end, which requests are counted, and what starts workers again."""

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
from support.command import COMMAND, environment
from support.servers import echo_upstream, wait_until

if TYPE_CHECKING:
    from .conftest import Cluster

from .test_kills import ROWS, answered, collect, repeated, start

OBATCH = shlex.join(COMMAND)
ECHO = Path(__file__).parents[2] / "support" / "echo.py"
IN_BACKGROUND = f"{OBATCH} worker {{store}} {{batch}} {{options}} --of 1 >> {{store}}/log 2>&1 &"


def later(cluster: Cluster, seconds: float) -> None:
    """Make starts and workers in the store look this many seconds older."""
    for path in [*cluster.objects("tries"), *cluster.objects("errors"), *cluster.objects("workers")]:
        at = path.stat().st_mtime - seconds
        os.utime(path, (at, at))


@pytest.mark.slow
def test_a_command_that_fails_is_run_again(cluster: Cluster) -> None:
    """If the launch command fails, its output is shown, and the same `obatch` command runs it again."""
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


def test_background_processes_of_a_command_are_not_waited_for(cluster: Cluster) -> None:
    """`submit` ends even if a process that the launch command started keeps its output open."""
    cluster.configure(launcher="command", command=["sh", "-c", f"sleep 60 & echo $! > {cluster.folder}/pid"])
    started = time.monotonic()
    start(cluster)
    assert time.monotonic() - started < 45
    os.kill(int((cluster.folder / "pid").read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_a_command_that_was_killed_is_run_again(cluster: Cluster) -> None:
    """A start that was recorded but did not happen is repeated later."""
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
def test_a_worker_that_gets_sigterm(cluster: Cluster) -> None:
    """On SIGTERM a worker stops and reports it, and workers are started again later."""
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
    """The results of incomplete shards are counted."""
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
    """If the engine ends, its worker ends too, and no request becomes an error."""
    engine = ["sh", "-c", f"sleep 4 | {shlex.join([sys.executable, str(ECHO)])} --port {{port}}"]
    cluster.configure(upstream=None, engine=engine, workers=1, rows_per_shard=1000)
    start(cluster, 1)
    wait_until(lambda: bool(cluster.objects("errors")), "the end of the worker", 30)
    assert "the engine ended with exit code" in cluster.objects("errors")[0].read_text()
    assert not any(b'"response":null' in path.read_bytes() for path in cluster.objects("journal"))
    cluster.configure()
    collect(cluster)


@pytest.mark.slow
def test_files_of_other_programs_in_the_store(cluster: Cluster) -> None:
    """Other files in the store are ignored, and a batch without its input is not listed."""
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


@pytest.mark.slow
def test_blank_lines(cluster: Cluster) -> None:
    """Blank lines are not counted as requests, and other users cannot read the files in the store."""
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
        (["--engine", "vllm"], "either --upstream or --engine"),
        (["--concurrency", "-1"], "--concurrency must be"),
        (["--concurrency", "10001"], "--concurrency must be a whole number from 1 to 10000"),
        (["--of", "0"], "--of must be"),
        (["--index", "2", "--of", "2"], "--index 2 is not from 0 to 1"),
        (["--upstream-key-env", "sk-0123456789abcdef"], "must be the name of an environment variable"),
        (["--request-timeout", "soon"], "not a time span"),
    ],
)
def test_wrong_options_of_a_worker(cluster: Cluster, words: list[str], message: str) -> None:
    """Wrong options are reported, and a key among them is not shown."""
    given = ["worker", str(cluster.store), f"batch_{'0' * 32}", "--upstream", cluster.echo.base_url]
    done = cluster.run(*given, *words).failed(2, message)
    assert "sk-0123456789abcdef" not in done.err


@pytest.mark.slow
def test_a_cancel_while_an_engine_starts(cluster: Cluster) -> None:
    """`cancel` ends the starting engine and its worker, and then the batch is cancelled."""
    cluster.configure(upstream=None, engine=["sleep", "601"], workers=1)
    start(cluster)
    wait_until(lambda: bool(cluster.objects("workers")), "a sign of life")
    cluster.run("cancel", "1").succeeded()
    wait_until(lambda: not cluster.workers(), "the end of the worker", 20)
    assert cluster.run("status").fields["status"] == "cancelled"
    assert "sleep 601" not in processes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the end of its parent")
def test_an_engine_whose_worker_is_killed(cluster: Cluster) -> None:
    """The engine of a killed worker ends too."""
    engine = ["sleep", "607"]
    cluster.configure(upstream=None, engine=engine, workers=1)
    start(cluster)
    wait_until(lambda: bool(cluster.objects("workers")), "a sign of life")
    cluster.kill_workers()
    wait_until(lambda: shlex.join(engine) not in processes(), "the end of the engine", 10)


def processes() -> str:
    """Return the command lines of all processes."""
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def worker(cluster: Cluster, batch: str) -> subprocess.Popen[str]:
    """Start a worker for all shards of a batch."""
    words = ["worker", str(cluster.store), batch, "--upstream", cluster.echo.base_url]
    return subprocess.Popen([*COMMAND, *words], env=environment(cluster.env), stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_worker_that_is_started_before_its_store_is_there(cluster: Cluster) -> None:
    """The worker waits until the store is there."""
    cluster.configure(launcher="command", command=["true"])
    batch = start(cluster, 0.01)
    away = cluster.folder / "away"
    cluster.store.rename(away)
    with worker(cluster, batch) as waiting:
        assert waiting.stderr is not None
        assert "is not there; trying again" in waiting.stderr.readline()
        away.rename(cluster.store)
        assert waiting.wait(60) == 0
    collect(cluster)


@pytest.mark.slow
def test_a_worker_of_a_cancelled_batch(cluster: Cluster) -> None:
    """A worker of a cancelled batch exits with code 0 and sends no request."""
    cluster.configure(launcher="command", command=["true"])
    batch = start(cluster)
    cluster.run("cancel", "1").succeeded()
    with worker(cluster, batch) as late:
        assert late.wait(60) == 0
    assert not cluster.objects("errors")
    assert not cluster.asked()


@pytest.mark.slow
def test_workers_that_never_report(cluster: Cluster) -> None:
    """`status` says for how long no worker has reported, unless the batch is cancelled."""
    cluster.configure(launcher="command", command=["true"])
    start(cluster)
    assert "no worker" not in cluster.run("status").succeeded().out
    later(cluster, 720)
    said = "no worker has reported for 12 min, since they were started"
    assert said in cluster.run("status").succeeded().out
    (fault,) = json.loads(cluster.run("status", "--json").succeeded().out)["errors"]
    assert fault["message"].startswith(said)
    cluster.run("cancel", "1").succeeded()
    assert "no worker" not in cluster.run("status").succeeded().out


@pytest.mark.slow
def test_workers_that_have_all_failed(cluster: Cluster) -> None:
    """`status` says that no worker runs, why, and that `obatch wait` starts them again."""
    cluster.configure(launcher="command", command=["sh", "-c", IN_BACKGROUND], upstream_key_env="NOT_SET_ANYWHERE")
    start(cluster)
    wait_until(lambda: bool(cluster.objects("errors")), "the end of the worker")
    later(cluster, 720)
    for path in cluster.objects("errors"):
        os.utime(path, (path.stat().st_mtime + 1,) * 2)  # later than the start
    shown = cluster.run("status").succeeded().out
    assert "no worker has reported for 12 min; `obatch wait` starts them again: the key of the upstream is" in shown


@pytest.mark.slow
def test_an_upstream_that_does_not_answer(cluster: Cluster) -> None:
    """`status` and `wait` show that the upstream cannot be reached."""
    cluster.configure(upstream="http://127.0.0.1:9/v1", workers=1)
    start(cluster)

    def told() -> bool:
        (line,) = [line for line in cluster.run("status").succeeded().out.splitlines() if "status" in line]
        faults = json.loads(cluster.run("status", "--json").succeeded().out)["errors"]
        return "in_progress" in line and [fault["code"] for fault in faults] == ["upstream_unavailable"]

    wait_until(told, "why nothing goes on")
    assert "the upstream at 127.0.0.1:9 could not be reached" in cluster.run("status").out
    waited = cluster.run("wait", "--timeout", "8s").failed(124, "is still in_progress")
    why = "the upstream at 127.0.0.1:9 could not be reached (ClientConnectorError); requests wait until it answers"
    assert waited.err.splitlines().count(f"warning: job 1: {why}") == 1


@pytest.mark.slow
def test_an_upstream_that_comes_late(cluster: Cluster) -> None:
    """Requests wait for it, although each has a single try."""
    port = cluster.echo.port
    cluster.echo.kill()
    cluster.configure(workers=1, max_tries=1)
    start(cluster, 0)
    wait_until(lambda: json.loads(cluster.run("status", "--json").succeeded().out)["errors"], "why nothing goes on")
    with echo_upstream(port=port):
        collect(cluster)


def without(cluster: Cluster, package: str) -> None:
    """Make the cluster's commands run as if a package were not installed."""
    modules = cluster.folder / "modules"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
    cluster.env["PYTHONPATH"] = f"{modules}:{environment(cluster.env).get('PYTHONPATH', '')}"


@pytest.mark.slow
def test_an_engine_without_the_embedded_one(cluster: Cluster) -> None:
    """A worker with its own engine needs only the extra `serve`."""
    without(cluster, "xllamacpp")
    engine = ["sh", "-c", f"sleep 600 | {shlex.join([sys.executable, str(ECHO)])} --port {{port}}"]
    cluster.configure(upstream=None, engine=engine, workers=1)
    start(cluster, 0.01)
    collect(cluster)


@pytest.mark.slow
def test_a_worker_without_its_extra(cluster: Cluster) -> None:
    """The package that a worker lacks is shown by `wait`."""
    without(cluster, "aiohttp")
    start(cluster)
    done = cluster.run("wait").failed(5, "failed, 0 of 60")
    assert "a worker needs aiohttp" in done.out


@pytest.mark.slow
def test_a_store_in_another_place(cluster: Cluster) -> None:
    """If the profile has another store now, `status` of an old job is an error; `status --offline` works."""
    start(cluster)
    cluster.configure(store=str(cluster.folder / "other"))
    for words in (["status"], ["cancel", "1"]):
        cluster.run(*words).failed(6, f"job 1 runs at shards:{cluster.store}, and provider cluster is now")
    assert "batch_" in cluster.run("status", "--offline").succeeded().out


@pytest.mark.slow
def test_workers_of_a_lost_state_folder(cluster: Cluster) -> None:
    """Workers that still run are not started again after the state folder was deleted."""
    start(cluster, 1)
    wait_until(lambda: len(cluster.objects("workers")) == 2, "signs of life")
    shutil.rmtree(cluster.folder / "state")
    cluster.run("recover", "-p", "cluster").succeeded()
    collect(cluster)
    assert cluster.starts() == 1
    assert repeated(cluster) == 0
