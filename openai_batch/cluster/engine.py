"""A model server next to a worker, such as vLLM or SGLang: started with the worker, and ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, ConfigError
from openai_batch.local.server_log import log

from .end_with_parent import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_START_SECONDS = 3600.0
"""Seconds until the server must answer: it may download a model first."""

_LOOK_SECONDS = 0.5
"""Seconds between two looks at it."""

_END_SECONDS = 30.0
"""Seconds that it may take to end."""


@contextlib.contextmanager
def engine_of(command: Sequence[str], waiting: Callable[[], None]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a model server, and give its base URL when it answers, and the process. `{port}` in `command` is replaced.

    Until then, `waiting` is called again and again; an error of it ends the server.

    It is ended with its whole process group. Raises BatchError if it ends before it answers.
    """
    port = _free_port()
    words = [word.replace("{port}", str(port)) for word in command]
    log(f"starting {words[0]} on port {port}")
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's
            words,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - there is one thread
        )
    except OSError as exc:
        raise ConfigError(f"the engine {words[0]} cannot be started: {exc.strerror}", hint="check `engine`") from exc
    url = f"http://127.0.0.1:{port}/v1"
    try:
        _wait_for(process, url, waiting)
        yield url, process
    finally:
        _end(process)


async def watch(process: subprocess.Popen[bytes]) -> None:
    """Raise BatchError when the engine ends."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if process.poll() is not None:
            raise BatchError(f"the engine ended with exit code {process.returncode}")


def _wait_for(process: subprocess.Popen[bytes], url: str, waiting: Callable[[], None]) -> None:
    give_up = time.monotonic() + _START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < give_up:
        waiting()
        if process.poll() is not None:
            raise BatchError(f"the engine ended with exit code {process.returncode} before it answered")
        try:
            with opener.open(f"{url}/models", timeout=10):
                return
        except urllib.error.HTTPError as exc:
            if exc.code in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
                return  # it answers to those with a key
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(_LOOK_SECONDS)
    raise BatchError(f"the engine did not answer within {_START_SECONDS:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):  # always both: its children may stay when it has ended
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
