"""Workers, drivers and stores that fail: no result is lost or doubled, and few requests are repeated."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.command import COMMAND, environment
from support.servers import wait_until

if TYPE_CHECKING:
    from .conftest import Cluster

ROWS = 60
CONCURRENCY = 4


def start(cluster: Cluster, seconds: float = 0.3) -> str:
    """Submit a job whose requests take this many seconds, and return the id of its batch."""
    prompts = cluster.prompts(ROWS, f"!sleep={seconds}")
    requests = cluster.folder / "requests.jsonl"
    cluster.run("prepare", str(prompts), "-m", "echo-1", "-o", str(requests)).succeeded()
    cluster.run("submit", str(requests), "-p", "cluster").succeeded()
    (plan,) = (cluster.store / "plans").iterdir()
    return plan.stem


def answered(cluster: Cluster, at_least: int) -> bool:
    """Return whether at least this many results are in journals and parts."""
    files = [*cluster.objects("journal"), *cluster.objects("parts")]
    return sum(path.read_bytes().count(b"\n") for path in files if path.exists()) >= at_least


def collect(cluster: Cluster) -> list[str]:
    """Wait for the job, download it, check that each request has one answer, and return the ids in order."""
    output = cluster.folder / "answers.jsonl"
    cluster.run("wait").succeeded()
    cluster.run("download", "-o", str(output)).succeeded()
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert all(line["response"]["status_code"] == 200 for line in lines)
    ids = [line["custom_id"] for line in lines]
    assert len(ids) == len(set(ids)) == ROWS
    return ids


def repeated(cluster: Cluster) -> int:
    """Return how many requests were repeated."""
    return sum(count - 1 for count in cluster.asked().values())


@pytest.mark.slow
def test_a_killed_worker(cluster: Cluster) -> None:
    """Later workers run the shards of a killed one, and repeat only the requests that it had sent without a result."""
    start(cluster)
    wait_until(lambda: answered(cluster, 15), "the first results")
    os.kill(cluster.workers()[0], signal.SIGKILL)
    collect(cluster)
    assert repeated(cluster) <= CONCURRENCY
    assert cluster.starts() == 2


@pytest.mark.slow
def test_all_killed_with_the_driver(cluster: Cluster) -> None:
    """After the workers and the command were killed, the same command continues their work."""
    start(cluster)
    with subprocess.Popen([*COMMAND, "wait"], env=environment(cluster.env), stderr=subprocess.DEVNULL) as waiting:
        wait_until(lambda: answered(cluster, 15), "the first results")
        waiting.kill()
        cluster.kill_workers()
    wait_until(lambda: not cluster.workers(), "the end of the workers")
    collect(cluster)
    assert repeated(cluster) <= 2 * CONCURRENCY


@pytest.mark.slow
def test_workers_killed_several_times(cluster: Cluster) -> None:
    """Workers are started again as long as they add results, even if no shard is complete."""
    cluster.configure(rows_per_shard=ROWS, workers=1)
    start(cluster, 0.2)
    with subprocess.Popen([*COMMAND, "wait"], env=environment(cluster.env), stderr=subprocess.DEVNULL) as waiting:
        for results in (12, 24, 36):
            wait_until(lambda results=results: answered(cluster, results), "more results")
            cluster.kill_workers()
        assert waiting.wait(60) == 0
    collect(cluster)
    assert repeated(cluster) <= 6 * CONCURRENCY


@pytest.mark.slow
def test_torn_journal(cluster: Cluster) -> None:
    """An incomplete line at the end of a journal, and an invalid one in it, lose only those lines."""
    start(cluster)
    wait_until(lambda: len(cluster.objects("journal")) == 2 and answered(cluster, 6), "two journals")
    cluster.kill_workers()
    wait_until(lambda: not cluster.workers(), "the end of the workers")
    journal = next(path for path in cluster.objects("journal") if path.stat().st_size)
    journal.write_bytes(journal.read_bytes()[:-5] + b"\n\xff{\n" + b'{"custom_id":"')
    collect(cluster)
    assert repeated(cluster) <= 2 * CONCURRENCY + 1


@pytest.mark.slow
def test_two_workers_on_the_same_shards(cluster: Cluster) -> None:
    """Two workers on the same shards repeat less than half of the requests, and the results are complete."""
    cluster.configure(launcher="command", command=["true"], rows_per_shard=2)
    batch = start(cluster)
    words = ["worker", str(cluster.store), batch, "--upstream", cluster.echo.base_url, "--concurrency", "2"]
    twins = [subprocess.Popen([*COMMAND, *words], env=environment(cluster.env)) for _ in range(2)]
    assert [twin.wait(60) for twin in twins] == [0, 0]
    collect(cluster)
    assert not cluster.objects("journal")
    assert repeated(cluster) < ROWS / 2


@pytest.mark.slow
def test_the_store_is_gone_for_a_while(cluster: Cluster) -> None:
    """While the store is missing, workers wait and write nothing in its place; then they continue, without repeats."""
    start(cluster)
    wait_until(lambda: answered(cluster, 10), "the first results")
    away = cluster.folder / "away"
    cluster.store.rename(away)
    cluster.store.mkdir()
    time.sleep(3)
    asked = sum(cluster.asked().values())
    time.sleep(1)
    assert sum(cluster.asked().values()) == asked < ROWS
    assert not list(cluster.store.iterdir())
    cluster.run("status").failed(1, "is not there", "mounted")
    shutil.rmtree(cluster.store)
    away.rename(cluster.store)
    collect(cluster)
    assert repeated(cluster) == 0
    assert cluster.starts() == 1


@pytest.mark.slow
def test_workers_that_cannot_work(cluster: Cluster) -> None:
    """Workers that cannot run are started three times; then the batch fails, and `retry` sends all requests."""
    cluster.configure(upstream_key_env="NOT_SET_ANYWHERE")
    start(cluster)
    done = cluster.run("wait").failed(5, "failed, 0 of 60")
    assert "the workers ended 3 times without one more result: the key of the upstream is missing" in done.out
    assert not cluster.asked()
    cluster.configure()
    cluster.run("download", "-o", str(cluster.folder / "none.jsonl")).failed(5, "0 of 60", "`obatch retry` then runs")
    cluster.run("retry").succeeded()
    collect(cluster)
    assert set(cluster.asked().values()) == {1}


@pytest.mark.slow
def test_cancel(cluster: Cluster) -> None:
    """Requests in flight are finished, and `retry` sends only the others."""
    start(cluster, 2)
    wait_until(lambda: answered(cluster, 12), "the first results")
    cluster.run("cancel", "1").succeeded()
    done = cluster.run("wait")
    assert done.code == 5, done
    assert "cancelled" in done.err
    before = Counter(cluster.asked())
    assert 12 <= sum(before.values()) < ROWS
    cluster.run("retry").succeeded()
    collect(cluster)
    assert set(cluster.asked().values()) == {1}


@pytest.mark.slow
def test_the_window_is_over(cluster: Cluster) -> None:
    """A batch that takes too long expires with its results, and `retry` sends only the other requests."""
    cluster.configure(completion_window="6s")
    start(cluster, 1)
    done = cluster.run("wait")
    assert done.code == 5, done
    assert "expired" in done.err
    assert 0 < sum(cluster.asked().values()) < ROWS
    tries = 1
    while done.code == 5:
        cluster.run("retry").succeeded()
        done, tries = cluster.run("wait"), tries + 1
    collect(cluster)
    assert repeated(cluster) <= tries * 2 * CONCURRENCY  # calls stop at the end of the window


@pytest.mark.slow
@pytest.mark.parametrize("registry", ["kept", "lost"])
def test_the_cluster_is_gone(cluster: Cluster, registry: str) -> None:
    """`recover`, `wait`, `status` and `download` need only the store."""
    start(cluster, 0.01)
    wait_until(lambda: len(cluster.objects("parts")) == ROWS // 10, "the end of the batch")
    cluster.echo.kill()
    cluster.configure(launcher="ray", address="http://127.0.0.1:9")
    if registry == "lost":
        shutil.rmtree(cluster.folder / "state")
        cluster.run("recover", "-p", "cluster").succeeded()
    cluster.run("wait").succeeded()
    assert cluster.run("status").fields["status"] == "completed"
    output = cluster.folder / "answers.jsonl"
    cluster.run("download", "-o", str(output)).succeeded()
    assert len(output.read_text().splitlines()) == ROWS
