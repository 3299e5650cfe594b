"""Finding or starting this user's server, as a client does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from openai import APIConnectionError, OpenAI
from support.batch import chat_file, finish, start
from support.servers import wait_until

from openai_batch.errors import AuthError, BatchError, ConfigError, MissingExtraError
from openai_batch.files import paths
from openai_batch.files.locks import is_held
from openai_batch.local import Endpoint, LocalSettings, ensure_running, running, stop
from openai_batch.local.launch import server_lock
from openai_batch.providers.client import make_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.servers import EchoUpstream


@pytest.fixture(autouse=True)
def stopped(home: Path) -> Iterator[None]:  # noqa: ARG001 - the test's own state, to be there until the end
    """Stop the server of this test, however the test ends."""
    yield
    stop()


def _settings(echo: EchoUpstream, **settings: Any) -> LocalSettings:
    return LocalSettings.from_mapping({"upstream": echo.base_url, **settings})


def _pid() -> int:
    return int(json.loads((paths.local_dir() / "server.json").read_text())["pid"])


def _client(endpoint: Endpoint) -> OpenAI:
    return OpenAI(base_url=endpoint.base_url, api_key=endpoint.token, max_retries=0)


def test_starts_once(echo: EchoUpstream) -> None:
    """The first call starts the server, the next one finds it, and `stop` ends it."""
    assert running() is None
    steps: list[tuple[str, int, int | None]] = []
    first = ensure_running(_settings(echo), progress=lambda *step: steps.append(step))
    name = "starting the local server and loading the model"
    assert steps == [(name, 0, None), (name, 0, 0)], "the start is told, and its end"
    pid = _pid()
    assert ensure_running(_settings(echo)) == first == running()
    assert _pid() == pid
    assert first.token not in repr(first)
    assert stop()
    assert running() is None
    assert not stop()


def test_two_processes_at_once(echo: EchoUpstream) -> None:
    """Clients that start at the same time share one server."""
    code = (
        "import sys; from openai_batch.local import *\n"
        "sys.stdin.readline(); e = ensure_running(LocalSettings(upstream=sys.argv[1])); print(e.base_url, e.token)"
    )
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", code, echo.base_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    answers = {client.communicate(timeout=60)[0] for client in clients}
    assert len(answers) == 1
    assert answers != {""}


def test_outlives_its_client(echo: EchoUpstream) -> None:
    """The server keeps running after the client that started it has ended."""
    code = "import sys; from openai_batch.local import *; ensure_running(LocalSettings(upstream=sys.argv[1]))"
    subprocess.run([sys.executable, "-W", "error", "-c", code, echo.base_url], check=True, timeout=60)
    assert running() is not None
    assert os.getsid(_pid()) == _pid()


@pytest.mark.slow
def test_killed_server_is_replaced(echo: EchoUpstream) -> None:
    """After a server is killed, a new one is started and continues its batch."""
    with _client(ensure_running(_settings(echo))) as client:
        batch = start(client, chat_file(f"!sleep=0.05 replaced {i}" for i in range(300)))
    os.kill(_pid(), signal.SIGKILL)
    wait_until(lambda: running() is None, "the end of the killed server")
    with _client(ensure_running(_settings(echo))) as client:
        assert finish(client, batch).status == "completed"


@pytest.mark.slow
def test_other_settings(echo: EchoUpstream) -> None:
    """An idle server with other settings is replaced; one that has work is not."""
    first = ensure_running(_settings(echo))
    assert ensure_running(_settings(echo, idle_seconds=30)) == first
    second = ensure_running(_settings(echo, concurrency=3))
    assert second != first
    with _client(second) as client:
        batch = start(client, chat_file(["!sleep=3 busy"]))
        with pytest.raises(BatchError, match="working with other settings") as refused:
            ensure_running(_settings(echo))
        assert refused.value.hint
        client.batches.cancel(batch.id)
        finish(client, batch)
    wait_until(lambda: _active() == 0, "the end of the work")
    assert ensure_running(_settings(echo)) != second


@pytest.mark.slow
def test_a_wrong_upstream_is_corrected(echo: EchoUpstream) -> None:
    """A server whose upstream cannot be reached makes way, and its batch goes on at the next one."""
    with socket.socket() as taken:  # nothing listens at a port that is only bound
        taken.bind(("127.0.0.1", 0))
        wrong = _settings(echo, upstream=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        with _client(ensure_running(wrong)) as client:
            batch = start(client, chat_file(["corrected"]))
            wait_until(lambda: client.batches.retrieve(batch.id).errors, "the reason")
        with _client(ensure_running(_settings(echo))) as client:
            assert finish(client, batch).status == "completed"
    assert echo.calls()["corrected"] == 1


def _active() -> int:
    from openai_batch.local.launch import _find_server

    found = _find_server()
    assert found is not None
    return int(found.health["active"])


def test_server_by_hand(echo: EchoUpstream) -> None:
    """A server that was started by hand is used by clients with matching settings, and is never replaced."""
    code = "import sys; from openai_batch.local import *; serve(LocalSettings(upstream=sys.argv[1]), token='mine')"
    with subprocess.Popen([sys.executable, "-c", code, echo.base_url]) as by_hand:
        found = wait_until(running, "the start of the server")
        assert found.token == "mine"
        assert ensure_running(LocalSettings()) == found
        assert ensure_running(_settings(echo)) == found
        with pytest.raises(BatchError, match="started by hand has other settings"):
            ensure_running(_settings(echo, concurrency=3))
        assert running() == found
        by_hand.send_signal(signal.SIGINT)
        assert by_hand.wait(timeout=30) == 0


def test_stale_address(echo: EchoUpstream) -> None:
    """An address file of a dead server, or with invalid JSON, is ignored."""
    folder = paths.private_dir(paths.local_dir())
    for content in ('{"base_url": "http://127.0.0.1:9/v1", "token": "x", "pid": 1}', "{", "[]"):
        (folder / "server.json").write_text(content)
        assert running() is None
        assert not stop()
    ensure_running(_settings(echo))


@contextlib.contextmanager
def _another_user(settings: LocalSettings, port: int = 0) -> Iterator[tuple[str, list[bytes]]]:
    """Answer like a server with these settings; yield the base URL and the list of received requests."""
    asked: list[bytes] = []
    health = {"service": "openai-batch", "fingerprint": settings.fingerprint(), "status": "ok"}
    body = json.dumps(health).encode()
    with socket.create_server(("127.0.0.1", port)) as other:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = other.accept()
                    with connection:
                        asked.append(connection.recv(4096))
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{other.getsockname()[1]}/v1", asked
        finally:
            other.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_another_user_has_the_port(echo: EchoUpstream) -> None:
    """If another process listens at the address of a stopped server, no request is sent to it."""
    settings = _settings(echo)
    ensure_running(settings)
    left = (paths.local_dir() / "server.json").read_text()
    stop()
    with _another_user(settings) as (base_url, asked):
        (paths.local_dir() / "server.json").write_text(json.dumps({**json.loads(left), "base_url": base_url}))
        assert running() is None
        assert ensure_running(settings).base_url != base_url
    assert asked == []


def test_another_user_has_taken_the_port(echo: EchoUpstream) -> None:
    """If another process takes the port of a killed server, an existing client sends it nothing."""
    settings = _settings(echo)
    endpoint = ensure_running(settings)
    with make_client(endpoint.base_url, endpoint.token, is_local=True) as client:
        assert client.files.list().data == []
        os.kill(_pid(), signal.SIGKILL)
        # Its port is free shortly before its lock is.
        wait_until(lambda: not is_held(server_lock()), "the end of the killed server")
        with _another_user(settings, urlsplit(endpoint.base_url).port or 0) as (_, asked):
            with pytest.raises(APIConnectionError):
                client.with_options(max_retries=0).files.list()
            assert asked == []


def test_missing_key(echo: EchoUpstream) -> None:
    """A key that is not set is reported before anything starts."""
    with pytest.raises(AuthError, match="TEST_NO_KEY is not set") as missing:
        ensure_running(_settings(echo, upstream_key_env="TEST_NO_KEY"))
    assert missing.value.hint == "export TEST_NO_KEY=..."
    assert running() is None


@pytest.mark.parametrize(("upstream", "extra"), [("http://127.0.0.1:9", "serve"), (None, "local")])
def test_missing_extra(monkeypatch: pytest.MonkeyPatch, upstream: str | None, extra: str) -> None:
    """A missing package is reported, with the command that installs it."""
    for name in ("uvicorn", "xllamacpp"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match="uvicorn") as missing:
        ensure_running(LocalSettings.from_mapping({"upstream": upstream} if upstream else {}))
    assert missing.value.hint == f"pip install 'openai-batch[{extra}]'"


def test_model_files(tmp_path: Path) -> None:
    """A model file that is missing or not valid is reported before anything starts."""
    other = tmp_path / "other.gguf"
    with pytest.raises(ConfigError, match="cannot be read"):
        ensure_running(LocalSettings(model_path=str(other)))
    other.write_text("not a model")
    with pytest.raises(ConfigError, match="not a GGUF file"):
        ensure_running(LocalSettings(model_path=str(other)))


@pytest.mark.slow
def test_failing_start(tmp_path: Path) -> None:
    """If the server cannot start, the error has the reason, without a traceback."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing more")
    with pytest.raises(BatchError, match="did not start") as failed:
        ensure_running(LocalSettings(model_path=str(broken), concurrency=1))
    assert "cannot load" in str(failed.value)
    assert "Traceback" not in str(failed.value)
    assert running() is None


def test_light_import() -> None:
    """Looking for the server imports neither the packages of the server nor those of the client."""
    code = (
        "import sys; from openai_batch.local import running; running()\n"
        "heavy = ('starlette', 'uvicorn', 'aiohttp', 'sqlite3', 'openai', 'typer', 'rich')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
