"""Real servers for tests: an echo upstream, and the local provider's server.

with echo_upstream() as echo, local_server(tmp_path, upstream=echo.base_url) as server:
    client = OpenAI(base_url=server.base_url, api_key=server.token)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI  # imported here, since it takes a second: no server should wait for it

from openai_batch.files.locks import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ECHO = Path(__file__).with_name("echo.py")
_PATIENCE = 60


def wait_until(condition: Any, what: str, seconds: float = _PATIENCE) -> Any:
    """Return the first true value of `condition()`; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
    return value


@dataclass
class EchoUpstream:
    """A running echo upstream."""

    base_url: str
    process: subprocess.Popen[str]

    def calls(self) -> dict[str, int]:
        """Return how often each text was requested."""
        return dict(self._counts()["calls"])

    def now(self) -> int:
        """Return the number of calls in progress."""
        return int(self._counts()["now"])

    def most(self) -> int:
        """Return the largest number of simultaneous calls."""
        return int(self._counts()["most"])

    def keys(self) -> list[str]:
        """Return the Authorization headers that it received; an empty one is a request without the header."""
        return list(self._counts()["keys"])

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.base_url.removesuffix("/v1").rpartition(":")[2])

    def add_model(self, name: str) -> None:
        """Add a model to its list."""
        self._post("/_models", name)

    def set_queue(self, waiting: int) -> None:
        """Set the number of waiting requests in its metrics."""
        self._post("/_queue", str(waiting))

    def _post(self, path: str, text: str) -> None:
        url = self.base_url.removesuffix("/v1") + path
        urllib.request.urlopen(url, text.encode(), timeout=10).close()  # noqa: S310

    def _counts(self) -> Any:
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/_calls", timeout=10) as reply:  # noqa: S310
            return json.loads(reply.read())

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def echo_upstream(*words: str, key: str | None = None, port: int = 0, models: bool = True) -> Iterator[EchoUpstream]:
    """Run an echo upstream with these additional `words`; with `key`, it refuses every other key."""
    command = [sys.executable, str(_ECHO), "--port", str(port), *(["--key", key] if key else []), *words]
    command += [] if models else ["--no-models"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            base_url = process.stdout.readline().strip()
            assert base_url, "the echo upstream did not start"
            yield EchoUpstream(base_url, process)
        finally:
            process.kill()


@dataclass
class LocalServer:
    """A running local server: its process, its address and its token (new after each start)."""

    state_dir: Path
    settings: dict[str, Any]
    env: dict[str, str]
    runner: tuple[str, ...] = ()
    """Words before the server's command, such as those of a tracer."""
    process: subprocess.Popen[bytes] | None = None
    base_url: str = ""
    token: str = field(default="", repr=False)

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """The output of the server so far."""
        return (self.state_dir / "server-under-test.log").read_text()

    def start(self) -> None:
        """Start the server, and wait until it has written its address."""
        address = self.state_dir / "local" / "server.json"
        address.unlink(missing_ok=True)
        with (self.state_dir / "server-under-test.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.runner, sys.executable, "-m", "openai_batch.local", json.dumps(self.settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
            )
        wait_until(lambda: address.exists() or self.ended, "the start of the local server")
        assert not self.ended, self.log
        content = json.loads(address.read_text())
        self.base_url, self.token = content["base_url"], content["token"]

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process is None or self.process.poll() is not None

    def client(self) -> OpenAI:
        """Return the official client for this server, without retries."""
        return OpenAI(base_url=self.base_url, api_key=self.token, max_retries=0)

    def kill(self) -> None:
        """Kill it, as in a crash."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end, and wait until it has ended."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """End it if it runs, and start it again with the same state."""
        self.terminate()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(number)
            self.process.wait(timeout=_PATIENCE)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request with the token; return the status, headers (lower case) and body, also of errors."""
        url = self.base_url.removesuffix("/v1") + path
        given = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        request = urllib.request.Request(url, data=body, headers=given, method=method)  # noqa: S310
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_PATIENCE) as reply:
                return reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, {k.lower(): v for k, v in exc.headers.items()}, exc.read()


@contextmanager
def local_server(
    state_dir: Path,
    *,
    upstream: str | list[str] | None = None,
    env: Mapping[str, str] | None = None,
    runner: tuple[str, ...] = (),
    **settings: Any,
) -> Iterator[LocalServer]:
    """Run the local provider's server with its state in `state_dir` (what OBATCH_STATE_DIR is for the client).

    Settings are those of LocalSettings. Windows may be as short as a second, and the server does not end while it
    is idle, so that tests can share it.
    """
    if WINDOWS:
        pytest.skip("the local provider does not run on Windows")
    state_dir.mkdir(parents=True, exist_ok=True)
    mapping = {"min_window_seconds": 1, "idle_seconds": 4 * 3600, **settings}
    if upstream is not None:
        mapping["upstream"] = upstream
    environment = {**os.environ, "OBATCH_STATE_DIR": str(state_dir), **(env or {})}
    server = LocalServer(state_dir, mapping, environment, runner)
    try:
        server.start()
        yield server
    finally:
        server.kill()
