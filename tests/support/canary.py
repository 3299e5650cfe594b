"""Helpers for tests of secrets: a key to search for, the search, and a server that records its requests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARK = "CANARY-5d1f0c9be2"
"""The text to search for; every key in these tests contains it."""

KEY = f"sk-{MARK}-0123456789abcdef"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@dataclass
class Listener:
    """A server that records its requests and sends a planned answer."""

    port: int
    heard: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def listener(answer: Callable[[bytes], bytes] = lambda _: b"") -> Iterator[Listener]:
    """Listen on a free port; `answer` returns a whole HTTP response for the head of a request."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Listener(listening.getsockname()[1])

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            data = b""
            while b"\r\n\r\n" not in data and (chunk := connection.recv(1 << 16)):
                data += chunk
            server.heard.append(data)
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            missing = int(length[1]) - len(body) if length else 0
            while missing > 0 and (chunk := connection.recv(1 << 16)):
                missing -= len(chunk)
            connection.sendall(answer(head))

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def response(status: int, body: str, kind: str = "application/json", **headers: str) -> bytes:
    """Return a whole HTTP response."""
    told = {"Content-Type": kind, "Content-Length": str(len(body.encode())), "Connection": "close", **headers}
    lines = [f"HTTP/1.1 {status} Planned", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", body]).encode()


def repeat_key(status: int, kind: str = "application/json") -> Callable[[bytes], bytes]:
    """Return a function whose answer repeats the key of the request in every possible place."""

    def answer(head: bytes) -> bytes:
        found = re.search(rb"(?i)authorization: bearer (\S+)", head)
        key = found[1].decode() if found else "none"
        error = {"message": f"Incorrect API key provided: {key}.", "code": key, "type": key, "param": key}
        body = json.dumps({"error": error, "id": key, "status": key})
        if kind != "application/json":
            body = f"Incorrect API key provided: {key}."
        return response(status, body, kind, Location=f"http://{key}.invalid/", **{"Retry-After": key})

    return answer


@dataclass(frozen=True)
class Ran:
    """The exit code and the output of a command."""

    words: tuple[str, ...]
    code: int
    said: str


def run(*words: str, module: str = "openai_batch", stdin: str = "", **env: str) -> Ran:
    """Run a program with all debug logging on."""
    talk = {"OBATCH_DEBUG": "1", "OPENAI_LOG": "debug"}
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, **talk, **env},
        check=False,
        timeout=90,
    )
    return Ran((module, *words), done.returncode, done.stdout + done.stderr)


def assert_key_absent(*ran: Ran, folders: tuple[Path, ...]) -> None:
    """Assert that no output and no file contains the key, in any letter case."""
    for result in ran:
        assert MARK.lower() not in result.said.lower(), result
    for folder in folders:
        for path in folder.rglob("*"):
            assert MARK.lower() not in str(path).lower(), path
            assert not path.is_file() or MARK.lower().encode() not in path.read_bytes().lower(), path


def command_lines(pid: int) -> str:
    """Return the command line of a process and its descendants."""
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes()]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return b" ".join(lines).decode() + "".join(command_lines(int(child)) for child in children)
