"""Several upstreams: each has its own key and limits, and does not stop the others."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from support.batch import chat_file, chat_line, counts_of, finish, start
from support.servers import echo_upstream, local_server, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import EchoUpstream


pytestmark = pytest.mark.slow


def _settings(*tables: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of several upstreams, with one request at a time unless a table says otherwise."""
    return {"upstream": [{"concurrency": 1, **table} for table in tables]}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_each_has_its_own_key_and_concurrency(tmp_path: Path) -> None:
    """Each key is sent only to its own URL, and is in no file, log or command line."""
    first, second = "sk-first-0123456789", "sk-second-0123456789"
    with echo_upstream(key=first) as one, echo_upstream(key=second) as two, echo_upstream() as three:
        settings = _settings(
            {"url": one.base_url, "key_env": "KEY_ONE", "concurrency": 3},
            {"url": two.base_url, "key_env": "KEY_TWO", "concurrency": 2},
            {"url": three.base_url},
        )
        with local_server(tmp_path, env={"KEY_ONE": first, "KEY_TWO": second}, **settings) as server:
            with server.client() as client:
                done = finish(client, start(client, chat_file(f"!sleep=0.1 {i}" for i in range(60))))
                assert counts_of(client, done) == (60, 60, 0)
            assert [each.most() for each in (one, two, three)] == [3, 2, 1]
            assert [each.keys() for each in (one, two, three)] == [[f"Bearer {first}"], [f"Bearer {second}"], [""]]
            command = (server.process and server.process.args, server.log)
            found = [p for p in tmp_path.rglob("*") if p.is_file() and b"0123456789" in p.read_bytes()]
            assert (found, "0123456789" in str(command)) == ([], False)


def test_requests_per_minute(tmp_path: Path) -> None:
    """The limit of requests per minute is respected, and requests are spread over the minute."""
    with echo_upstream() as echo:
        settings = _settings({"url": echo.base_url, "concurrency": 10, "requests_per_minute": 240})
        with local_server(tmp_path, **settings) as server, server.client() as client:
            began = time.monotonic()
            finish(client, start(client, chat_file(map(str, range(9)))))
            assert time.monotonic() - began >= 8 * 0.25


REASONS = ("!status=500", "!status=429", "!status=408", "!status=503", "!drop=100", "!raw=html", "!sleep=30")


@pytest.mark.parametrize("reason", REASONS)
def test_second_tries_go_to_another_upstream(tmp_path: Path, reason: str) -> None:
    """A retry is sent to another upstream, whatever the error was."""
    with echo_upstream("--always", reason) as bad, echo_upstream("--always", "!sleep=0.05") as good:
        settings = _settings({"url": bad.base_url}, {"url": good.base_url})
        settings |= {"max_tries": 2, "timeout_seconds": 1.5}
        with local_server(tmp_path, **settings) as server, server.client() as client:
            done = finish(client, start(client, chat_file(map(str, range(5)))))
            assert counts_of(client, done) == (5, 5, 0)
        assert set(bad.calls().values()) == {1}


def test_retry_after_is_for_the_whole_upstream(tmp_path: Path) -> None:
    """After Retry-After, no request is sent to that upstream until the time is over."""
    with echo_upstream() as echo, local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        refused = start(client, chat_file(["!later=4 refused"]))
        wait_until(echo.calls, "the refusal")
        began = time.monotonic()
        finish(client, start(client, chat_file(["another"])))
        assert time.monotonic() - began > 3
        assert counts_of(client, finish(client, refused)) == (1, 1, 0)


def test_retry_after_of_one_of_several(tmp_path: Path) -> None:
    """A request that one upstream refuses for now is sent to another one."""
    with echo_upstream("--always", "!later=50") as one, echo_upstream() as two:
        settings = _settings({"url": one.base_url}, {"url": two.base_url})
        with local_server(tmp_path, **settings) as server, server.client() as client:
            began = time.monotonic()
            done = finish(client, start(client, chat_file(map(str, range(30)))))
            assert time.monotonic() - began < 40
            assert counts_of(client, done) == (30, 30, 0)
        assert sum(one.calls().values()) == 1


def test_an_unreachable_upstream_is_tried_only_at_intervals(tmp_path: Path) -> None:
    """An upstream that cannot be reached is tried at intervals, and used again when it is back."""
    port = _free_port()
    with echo_upstream("--always", "!sleep=0.01") as echo:
        settings = _settings({"url": f"http://127.0.0.1:{port}/v1"}, {"url": echo.base_url, "concurrency": 4})
        with local_server(tmp_path, **settings) as server, server.client() as client:
            done = finish(client, start(client, chat_file(f"before {i}" for i in range(200))))
            assert counts_of(client, done) == (200, 200, 0)
            assert server.log.count("could not be reached") == 1
            with echo_upstream(port=port) as back:
                wait_until(lambda: "answers again" in server.log, "the return")
                finish(client, start(client, chat_file(f"!sleep=0.02 after {i}" for i in range(40))))
                assert back.calls()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems may refuse what does not fit the queue")
def test_an_upstream_that_accepts_no_connection(tmp_path: Path) -> None:
    """The connection timeout of such an upstream is spent once, not for each request."""
    with socket.socket() as silent, ExitStack() as stack, echo_upstream() as echo:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(4):  # fills its queue, so that new connections have to wait
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        settings = _settings({"url": f"http://127.0.0.1:{silent.getsockname()[1]}/v1"}, {"url": echo.base_url})
        with local_server(tmp_path, **settings) as server, server.client() as client:
            finish(client, start(client, chat_file(["first"])))
            began = time.monotonic()
            finish(client, start(client, chat_file(map(str, range(20)))))
            assert time.monotonic() - began < 5
            assert server.log.count("could not be reached") == 1
            server.terminate()
            assert "Unclosed" not in server.log


def test_all_upstreams_unreachable_for_a_while(tmp_path: Path) -> None:
    """The batch waits, and continues with the first upstream that is back."""
    ports = [_free_port() for _ in range(2)]
    urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
    with local_server(tmp_path, upstream=urls) as server, server.client() as client:
        batch = start(client, chat_file(map(str, range(50))))
        wait_until(lambda: client.batches.retrieve(batch.id).errors, "the reason")
        time.sleep(2)
        with echo_upstream(port=ports[1]):
            done = finish(client, batch)
            assert counts_of(client, done) == (50, 50, 0)
            # A client's own call does not wait for the next check of the upstreams.
            assert client.chat.completions.create(model="echo-1", messages=[{"role": "user", "content": "x"}])


def test_models_of_each(tmp_path: Path) -> None:
    """A request is sent only to upstreams that list its model, also after a restart."""
    with echo_upstream("--models", "small", "both") as one, echo_upstream("--models", "large", "both") as two:
        settings = _settings({"url": one.base_url}, {"url": two.base_url})
        with local_server(tmp_path, **settings) as server:
            texts = [f"!sleep=0.05 {model} {i}" for i in range(20) for model in ("small", "large", "both")]
            content = "\n".join(chat_line(text, text, model=text.split()[1]) for text in texts).encode()
            with server.client() as client:
                assert {model.id for model in client.models.list()} == {"small", "large", "both"}
                batch = start(client, content)
                wait_until(lambda: len(one.calls()) > 5, "some answers")
            server.kill()
            server.start()
            with server.client() as client:
                done = finish(client, batch)
                assert counts_of(client, done) == (60, 60, 0)
            kinds = [{text.split()[1] for text in each.calls()} for each in (one, two)]
            assert kinds == [{"small", "both"}, {"large", "both"}]


def test_a_server_of_llama_cpp(tmp_path: Path) -> None:
    """llama.cpp lists only its model file, and gets every model name that no other upstream lists."""
    words = ("--models", "/models/some.gguf", "--owner", "llamacpp")
    with (
        echo_upstream(*words) as llama,
        echo_upstream("--models", "large") as other,
        local_server(tmp_path, upstream=[llama.base_url, other.base_url]) as server,
        server.client() as client,
    ):
        assert [model.id for model in client.models.list()] == ["/models/some.gguf", "large"]
        content = "\n".join(
            chat_line(name, name, model=name.split()[0]) for name in ("x 1", "large 1", "x 2", "large 2")
        )
        assert counts_of(client, finish(client, start(client, content.encode()))) == (4, 4, 0)
        assert (set(llama.calls()), set(other.calls())) == ({"x 1", "x 2"}, {"large 1", "large 2"})


def most_now(echo: EchoUpstream) -> int:
    """Return the number of running calls, after a short pause."""
    time.sleep(0.1)
    return echo.now()


@pytest.mark.parametrize("name", ["vllm:num_requests_waiting", "sglang:num_queue_reqs"])
def test_a_long_queue(tmp_path: Path, name: str) -> None:
    """While a model server has a long queue it gets one request at a time, and then more again."""
    with echo_upstream("--metrics", name) as echo:
        echo.set_queue(500)
        with local_server(tmp_path, upstream=echo.base_url, concurrency=12) as server, server.client() as client:
            batch = start(client, chat_file(f"!sleep=0.2 {i}" for i in range(300)))
            wait_until(lambda: echo.now() == 12, "the beginning")
            wait_until(lambda: max(most_now(echo) for _ in range(10)) == 1, "one at a time")
            echo.set_queue(0)
            wait_until(lambda: echo.now() > 3, "more requests")
            client.batches.cancel(batch.id)
            finish(client, batch)
