"""A store in S3: a whole job, killed workers, and a store that does not answer for a while."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from support.servers import wait_until
from support.stores import Store, s3_server

from openai_batch.cluster.store import BucketStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Cluster

ROWS = 60


@dataclass
class Line:
    """A connection to a server that can be interrupted."""

    port: int
    cut: bool = False
    open: list[socket.socket] = field(default_factory=list)

    def serve(self, door: socket.socket) -> None:
        """Forward connections until the socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = door.accept()
                if self.cut:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.port))
                threading.Thread(target=self.connect, args=(client, server), daemon=True).start()

    def connect(self, client: socket.socket, server: socket.socket) -> None:
        """Forward bytes in both directions until both sides have ended."""
        pair = [client, server]
        self.open += pair
        answers = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
        answers.start()
        _pass_on(client, server)
        answers.join()
        for connection in pair:
            self.open.remove(connection)
            connection.close()

    def cut_now(self) -> None:
        """Close all connections and refuse new ones."""
        self.cut = True
        for connection in tuple(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def bucket(cluster: Cluster) -> Iterator[tuple[Store, Line]]:
    """Put the store of the cluster into a bucket, behind a connection that can be interrupted."""
    with s3_server() as server, socket.create_server(("127.0.0.1", 0)) as door:
        line = Line(int(urlsplit(server.url).port or 0))
        threading.Thread(target=line.serve, args=(door,), daemon=True).start()
        cluster.env |= server.env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{door.getsockname()[1]}"}
        cluster.place = "s3://bucket/obatch"
        cluster.configure()
        yield server, line
        cluster.kill_workers()


def stored(server: Store) -> BucketStore:
    """Return the store of the test."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.env.items():
            patch.setenv(name, value)
        return BucketStore("s3://bucket/obatch")


def results(server: Store) -> int:
    """Return how many results are in journals and parts."""
    time.sleep(0.2)  # the server handles one request at a time
    store = stored(server)
    keys = [found.key for found in store.list("batches") if "/journal/" in found.key or "/parts/" in found.key]
    return sum(store.read(key).count(b"\n") for key in keys)


def start(cluster: Cluster, seconds: float) -> None:
    """Submit a job whose requests take this many seconds."""
    requests = cluster.folder / "requests.jsonl"
    prompts = cluster.prompts(ROWS, f"!sleep={seconds}")
    cluster.run("prepare", str(prompts), "-m", "echo-1", "-o", str(requests)).succeeded()
    cluster.run("submit", str(requests), "-p", "cluster").succeeded()


def collect(cluster: Cluster) -> None:
    """Wait for the job, and check that each request has one answer."""
    output = cluster.folder / "answers.jsonl"
    cluster.run("wait").succeeded()
    cluster.run("download", "-o", str(output)).succeeded()
    ids = [json.loads(line)["custom_id"] for line in output.read_text().splitlines()]
    assert len(ids) == len(set(ids)) == ROWS


@pytest.mark.slow
def test_a_whole_job(cluster: Cluster, bucket: tuple[Store, Line]) -> None:
    """Each request is sent once, and only the records of starts, the parts and the end stay in the bucket."""
    start(cluster, 0.01)
    collect(cluster)
    assert set(cluster.asked().values()) == {1}
    kinds = {found.key.split("/")[2] for found in stored(bucket[0]).list("batches")}
    assert kinds == {"tries", "parts", "end.json"}


@pytest.mark.slow
def test_killed_workers(cluster: Cluster, bucket: tuple[Store, Line]) -> None:
    """Results that were written to the store are not requested again."""
    start(cluster, 1)
    wait_until(lambda: results(bucket[0]) >= 16, "the first flush")
    flushed = results(bucket[0])
    cluster.kill_workers()
    wait_until(lambda: not cluster.workers(), "the end of the workers")
    asked = sum(cluster.asked().values())
    collect(cluster)
    assert sum(cluster.asked().values()) - ROWS <= asked - flushed


@pytest.mark.slow
def test_the_store_does_not_answer_for_a_while(cluster: Cluster, bucket: tuple[Store, Line]) -> None:
    """Workers wait for the store and then continue, and no request is repeated."""
    start(cluster, 0.5)
    wait_until(lambda: results(bucket[0]) >= 10, "the first results")
    bucket[1].cut_now()
    time.sleep(60)
    bucket[1].cut = False
    collect(cluster)
    assert set(cluster.asked().values()) == {1}


def test_a_bucket_that_is_missing(cluster: Cluster, bucket: tuple[Store, Line]) -> None:
    """`doctor` and `run` report the missing bucket, and nothing is sent."""
    cluster.place = "s3://not-there/obatch"
    cluster.configure()
    assert "there is no bucket s3://not-there" in cluster.run("doctor", "cluster").out
    words = ["-p", "cluster", "-m", "echo-1", "-o", str(cluster.folder / "answers.jsonl")]
    cluster.run("run", str(cluster.prompts(3)), *words).failed(6, "there is no bucket s3://not-there", "check its name")
    assert not list(stored(bucket[0]).list("batches"))
