"""The server continues its work after it is killed or stopped."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.batch import chat_file, counts_of, finish, lines, start, wait_for_successes
from support.servers import local_server, wait_until

from openai_batch.local.backlog import MOST_ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import EchoUpstream

pytestmark = pytest.mark.slow


ROWS = 400
CONCURRENCY = 8


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_batch_continues_after_the_server_ended(tmp_path: Path, echo: EchoUpstream, how: str) -> None:
    """Each request has one answer. After a stop only requests in flight are repeated, after a crash the backlog too."""
    # The last requests are slow, so that the batch still runs when it is checked.
    pauses = [0.01] * (ROWS - CONCURRENCY) + [3] * CONCURRENCY
    texts = [f"!sleep={pause} {how} {i} {tmp_path.name}" for i, pause in enumerate(pauses)]
    with local_server(tmp_path, upstream=echo.base_url, concurrency=CONCURRENCY) as server:
        with server.client() as client:
            batch = start(client, chat_file(texts))
        ends = 0
        for successes in (30, 120, 250):
            with server.client() as client:
                before = wait_for_successes(client, batch, successes).request_counts
            getattr(server, how)()
            ends += 1
            server.start()
            with server.client() as client:
                after = client.batches.retrieve(batch.id).request_counts
            assert before is not None
            assert after is not None
            assert after.completed >= before.completed
        with server.client() as client:
            done = finish(client, batch)
            answers = lines(client, done.output_file_id)
        assert done.status == "completed"
        assert done.request_counts is not None
        assert done.request_counts.completed == ROWS
        assert [a["custom_id"] for a in answers] == [f"r{i}" for i in range(ROWS)]
        assert [a["response"]["body"]["choices"][0]["message"]["content"] for a in answers] == [
            f"echo: {text}" for text in texts
        ]
        calls = Counter({text: count for text, count in echo.calls().items() if text in set(texts)})
        assert set(calls) == set(texts)
        assert calls.total() - ROWS <= ends * (CONCURRENCY + (MOST_ROWS if how == "kill" else 0))


def test_killed_while_the_disk_hangs(tmp_path: Path, echo: EchoUpstream) -> None:
    """While the disk hangs, requests stop when the backlog is full, and only those are repeated after a crash."""
    texts = [f"!sleep=0.01 hangs {i} {tmp_path.name}" for i in range(900)]
    mine = set(texts)

    def asked() -> int:
        return sum(count for text, count in echo.calls().items() if text in mine)

    with local_server(tmp_path, upstream=echo.base_url, concurrency=CONCURRENCY) as server:
        with server.client() as client:
            batch = start(client, chat_file(texts))
            wait_for_successes(client, batch, 1)
        with closing(sqlite3.connect(tmp_path / "local" / "store.db", isolation_level=None)) as store:
            store.execute("BEGIN IMMEDIATE")
            (stored,) = store.execute("SELECT completed FROM batches").fetchone()
            wait_until(lambda: asked() - stored >= MOST_ROWS, "a full backlog")
            time.sleep(0.5)
            lost = asked() - stored
            server.kill()
        assert lost < MOST_ROWS + CONCURRENCY
        server.start()
        with server.client() as client:
            done = finish(client, batch)
            answers = lines(client, done.output_file_id)
            assert counts_of(client, done) == (len(texts), len(texts), 0)
        assert [a["custom_id"] for a in answers] == [f"r{i}" for i in range(len(texts))]
        assert asked() == len(texts) + lost


def test_expires_while_the_server_is_down(tmp_path: Path, echo: EchoUpstream) -> None:
    """A batch whose window ends while the server is down is expired at the next start, with its results."""
    with local_server(tmp_path, upstream=echo.base_url) as server:
        with server.client() as client:
            batch = start(client, chat_file(["away", "!sleep=60 away"]), window="4s")
            wait_for_successes(client, batch, 1)
            expires_at = batch.expires_at
        server.kill()
        assert expires_at is not None
        wait_until(lambda: time.time() > expires_at + 1, "the end of the window")
        server.start()
        with server.client() as client:
            done = finish(client, batch)
            assert done.status == "expired"
            assert counts_of(client, done) == (2, 1, 1)


def test_cancelled_before_the_crash(tmp_path: Path, echo: EchoUpstream) -> None:
    """A batch that was being cancelled when the server was killed is cancelled, not completed."""
    with local_server(tmp_path, upstream=echo.base_url) as server:
        with server.client() as client:
            batch = start(client, chat_file(["!sleep=60 c", *(f"c {i}" for i in range(3000))]))
            client.batches.cancel(batch.id)
        server.kill()
        server.start()
        with server.client() as client:
            done = finish(client, batch)
            assert done.status == "cancelled"
            counts_of(client, done)


@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.0, 1.4])
def test_counts_agree_with_the_files(tmp_path: Path, echo: EchoUpstream, seconds: float) -> None:
    """After crashes before and after a cancel, the counts are the numbers of lines in the two files."""
    texts = [f"!sleep=0.02{' !status=400' if i % 3 else ''} {seconds} {i} {tmp_path.name}" for i in range(400)]
    with local_server(tmp_path, upstream=echo.base_url, concurrency=8) as server:
        with server.client() as client:
            batch = wait_for_successes(client, start(client, chat_file(texts)), 5)
        time.sleep(seconds / 4)
        server.kill()
        server.start()
        with server.client() as client:
            time.sleep(seconds)
            if client.batches.retrieve(batch.id).status == "in_progress":
                client.batches.cancel(batch.id)
        server.kill()
        server.start()
        with server.client() as client:
            total, completed, failed = counts_of(client, finish(client, batch))
            assert total == completed + failed == 400


def test_one_server_for_one_state(tmp_path: Path, echo: EchoUpstream) -> None:
    """A second server with the same state folder does not start, and the first one keeps running."""
    with local_server(tmp_path, upstream=echo.base_url) as server:
        second = subprocess.run(
            [sys.executable, "-m", "openai_batch.local", json.dumps(server.settings)],
            env=server.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert second.stderr.startswith("error: a local server is running already")
        assert server.request("GET", "/health")[0] == 200


def test_stops_on_signals(tmp_path: Path, echo: EchoUpstream) -> None:
    """SIGTERM and SIGINT stop the server with exit code 0, and its address file is deleted."""
    with local_server(tmp_path, upstream=echo.base_url) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            assert server.process is not None
            server.process.send_signal(number)
            assert server.process.wait(timeout=30) == 0
            assert not (tmp_path / "local" / "server.json").exists()
            server.start()
        assert server.log == ""


def test_idle_exit(tmp_path: Path, echo: EchoUpstream) -> None:
    """An idle server stops by itself, but not before its batches have ended."""
    with local_server(tmp_path, upstream=echo.base_url, idle_seconds=2) as server:
        with server.client() as client:
            batch = start(client, chat_file(["!sleep=4 idle"]))
        wait_until(lambda: server.ended, "the end of the idle server")
        server.settings["idle_seconds"] = 60
        server.start()
        with server.client() as client:
            assert client.batches.retrieve(batch.id).status == "completed"
        assert echo.calls()["!sleep=4 idle"] == 1
