"""Upstreams that go away and come back: what was not sent costs no try, and what was sent does."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Any

import openai
import pytest
from support.batch import chat_file, chat_line, counts_of, finish, lines, start
from support.servers import echo_upstream, local_server, wait_until

from openai_batch.local import upstream as upstreams
from openai_batch.local import upstream_retry
from openai_batch.local.run_request import result_of
from openai_batch.local.running_requests import RunningRequests
from openai_batch.local.settings import LocalSettings
from openai_batch.local.store import FAILED, SUCCEEDED
from openai_batch.local.targets import Target
from openai_batch.local.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from openai.types import Batch

BODY = b'{"model": "echo-1", "messages": [{"role": "user", "content": "x"}]}'
LOOKS = 50  # looks at an upstream, of which each cost a part of a try


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the pauses between two tries and between two looks short."""
    for module in (upstreams, upstream_retry):
        monkeypatch.setattr(module, "delays", lambda *_, **__: repeat(0.01))
    monkeypatch.setattr(upstreams, "_LOOK_SECONDS", 0.01)


def free_port() -> int:
    """Return a port at which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Gate:
    """What stands before a model server: it passes nothing on, and answers with `reply`, or closes the connection.

    `lists` says whether it lists the models when it is asked for the n-th time, from 1.
    """

    def __init__(self, reply: bytes, lists: Callable[[int], bool]) -> None:
        self.reply = reply
        self.lists = lists
        self.asked: list[str] = []
        """The requests, in order: `POST`, and `GET` for the models."""

    @asynccontextmanager
    async def open(self, port: int) -> AsyncIterator[None]:
        """Listen at the port."""
        async with await asyncio.start_server(self._answer, "127.0.0.1", port):
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, path = (await reader.readuntil(b"\r\n\r\n")).split()[:2]
        if path != b"/metrics":
            self.asked.append(method.decode())
        if path == b"/v1/models" and self.lists(self.asked.count("GET")):
            body = b'{"data": [{"id": "echo-1"}]}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        else:
            writer.write(self.reply)
        await writer.drain()
        writer.close()


BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def asking(port: int, max_tries: int, *, before: Gate | None = None) -> AsyncIterator[asyncio.Task[Any]]:
    """Give the task that runs one request of a batch at this port, where `before` has been until now."""
    upstream = Upstream([Target(f"http://127.0.0.1:{port}/v1", None, 4)])
    if before is not None:
        async with before.open(port):
            await upstream.models()
    run = RunningRequests("batch", "/v1/chat/completions", time.time() + 3600)
    task = asyncio.create_task(result_of(upstream, run, "r", BODY, LocalSettings(max_tries=max_tries)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await upstream.close()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("before", [None, Gate(b"", lambda _: True)])
def test_a_failed_connection_is_no_try(before: Gate | None) -> None:
    """However long nothing listens there, a request with a single try is answered by the first server that does."""

    async def scenario() -> int:
        port = free_port()
        async with asking(port, 1, before=before) as task:
            await asyncio.sleep(0.01 * LOOKS)
            assert not task.done()
            with echo_upstream(port=port):
                return int((await task).state)

    assert asyncio.run(scenario()) == SUCCEEDED


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("reply", [b"", BAD_GATEWAY])
def test_away_behind_what_still_listens(reply: bytes) -> None:
    """A tunnel whose end is gone, or a gateway: the request that was sent waits until the models are listed again."""
    gate = Gate(reply, lambda number: number == 1 or number > LOOKS)

    async def scenario() -> int:
        port = free_port()
        async with gate.open(port), asking(port, 2) as task:
            return int((await task).state)

    assert asyncio.run(scenario()) == FAILED
    assert gate.asked[: LOOKS + 1] == ["GET", "POST", *["GET"] * (LOOKS - 1)]
    # A broken connection is a try, and an answer of a gateway a quarter of one.
    assert gate.asked.count("POST") == (8 if reply else 2)


@pytest.mark.usefixtures("quick")
def test_a_request_that_breaks_its_server_ends() -> None:
    """The connection breaks each time, and the server is there again: that is an error after all tries."""
    gate = Gate(b"", lambda _: True)

    async def scenario() -> Any:
        port = free_port()
        async with gate.open(port), asking(port, 3) as task, asyncio.timeout(30):  # else it would never end
            return await task

    result = asyncio.run(scenario())
    assert (result.state, gate.asked.count("POST")) == (FAILED, 3)
    assert b"connection_error" in result.data
    assert b"broke" in result.data


@pytest.mark.slow
@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_the_end_of_a_batch_that_waits(tmp_path: Path, end: str) -> None:
    """A batch whose upstream never answers is cancelled, or expires, and each request says that."""
    url = f"http://127.0.0.1:{free_port()}/v1"
    with local_server(tmp_path, upstream=url, max_tries=1) as server, server.client() as client:
        batch = start(client, chat_file(map(str, range(100))), window="24h" if end == "cancelled" else "8s")
        said = wait_until(lambda: client.batches.retrieve(batch.id).errors, "the reason")
        assert said.data[0].message.endswith(
            "could not be reached (ClientConnectorError); requests wait until it answers"
        )
        if end == "cancelled":
            client.batches.cancel(batch.id)
        done = finish(client, batch)
        assert (done.status, counts_of(client, done)) == (end, (100, 0, 100))
        assert {line["error"]["code"] for line in lines(client, done.error_file_id)} == {f"batch_{end}"}
        assert server.log.count("could not be reached") == 1


@pytest.mark.slow
def test_a_clients_own_request_does_not_wait(tmp_path: Path) -> None:
    """It fails at once, with the reason, also while a batch waits, and is answered as soon as the upstream is back."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    with local_server(tmp_path, upstream=url) as server, server.client() as client:
        batch = start(client, chat_file(["x"]))
        wait_until(lambda: client.batches.retrieve(batch.id).errors, "the reason")
        asked: dict[str, Any] = {"model": "echo-1", "messages": [{"role": "user", "content": "y"}]}
        with pytest.raises(openai.InternalServerError, match=f"127.0.0.1:{port} could not be reached") as refused:
            client.chat.completions.create(**asked)
        assert refused.value.status_code == 502
        with echo_upstream(port=port):
            assert client.chat.completions.create(**asked)
            assert finish(client, batch).status == "completed"


@pytest.mark.slow
def test_the_only_one_with_the_model_is_away(tmp_path: Path) -> None:
    """Its requests wait, and take no places from those of other upstreams; the batch says why it waits."""
    with echo_upstream("--models", "large") as one, echo_upstream("--models", "small") as two:
        url, port = one.base_url, one.port
        urls = [url, two.base_url]
        with local_server(tmp_path, upstream=urls, concurrency=3) as server, server.client() as client:

            def batch_of(model: str, count: int) -> Batch:
                content = "\n".join(chat_line(f"{model}{n}", f"!sleep=0.1 {n}", model=model) for n in range(count))
                return start(client, content.encode())

            large = batch_of("large", 50)
            wait_until(one.now, "the first requests")
            one.kill()
            wait_until(lambda: client.batches.retrieve(large.id).errors, "the reason")
            small = batch_of("small", 50)
            wait_until(two.now, "its first requests")
            assert client.batches.retrieve(small.id).errors is None  # what the other batch waits for is not its trouble
            assert counts_of(client, finish(client, small)) == (50, 50, 0)
            waiting = client.batches.retrieve(large.id)
            assert waiting.errors
            assert "requests wait until it answers" in str(waiting.errors)
            with pytest.raises(openai.InternalServerError, match=f"127.0.0.1:{port} could not be reached"):
                client.chat.completions.create(model="large", messages=[{"role": "user", "content": "y"}])
            with echo_upstream("--models", "large", port=port):
                assert counts_of(client, finish(client, large)) == (50, 50, 0)
