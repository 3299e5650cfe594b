"""Connections that never send a complete request time out, and leave room for those of the owner."""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from support.servers import local_server

from openai_batch.local.connections import HEAD_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import EchoUpstream, LocalServer

resource = pytest.importorskip("resource")

pytestmark = pytest.mark.slow


def _connect(server: LocalServer) -> socket.socket:
    address = urlsplit(server.base_url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=30)


def _ended(connection: socket.socket, send: bytes) -> bool:
    """Send bytes; return whether the other side has closed the connection."""
    try:
        connection.sendall(send)
        connection.settimeout(0.01)
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_slow_or_silent_connections_are_closed(server: LocalServer) -> None:
    """Connections that send nothing, or a slow header or body, are closed in time."""
    port = urlsplit(server.base_url).port
    head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {server.token}\r\n"
    upload = "POST /v1/files HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n"
    trickles = {
        "silence": (b"", b""),
        "a head": (b"GET /v1/files HTTP/1.1\r\nX-Slow: ", b"x"),
        "a body without the token": (f"{upload}Host: 127.0.0.1:{port}\r\n\r\n".encode(), b"x"),
        "requests without the token": (b"", f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()),
        "a second head": (f"GET /health HTTP/1.1\r\n{head}\r\nGET /health HTTP/1.1\r\n".encode(), b"x"),
    }
    idle = HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {server.token}"}
    idle.request("GET", "/health", headers=headers)
    assert idle.getresponse().read()
    with contextlib.ExitStack() as stack:
        waiting = {name: stack.enter_context(_connect(server)) for name in trickles}
        begin = time.monotonic()
        for name, connection in waiting.items():
            connection.sendall(trickles[name][0])
        while waiting and time.monotonic() < begin + HEAD_SECONDS + 5:
            time.sleep(1)
            waiting = {name: c for name, c in waiting.items() if not _ended(c, trickles[name][1])}
        assert not waiting, list(waiting)
        assert time.monotonic() > begin + HEAD_SECONDS - 1
    idle.request("GET", "/health", headers=headers)  # the same connection
    assert idle.getresponse().status == 200
    idle.close()


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="starts a server with few open files")
def test_idle_connections_leave_room_for_the_owner(tmp_path: Path, echo: EchoUpstream) -> None:
    """With 2,000 idle connections without a token, and few open files, the owner is still answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    few = ("prlimit", "--nofile=512:512")
    try:
        with local_server(tmp_path, upstream=echo.base_url, runner=few) as server, contextlib.ExitStack() as stack:
            own = HTTPConnection("127.0.0.1", urlsplit(server.base_url).port, timeout=30)
            headers = {"Authorization": f"Bearer {server.token}"}
            own.request("GET", "/health", headers=headers)
            assert own.getresponse().read()
            for _ in range(2000):
                stack.enter_context(_connect(server))
            begin = time.monotonic()
            assert server.request("GET", "/v1/files")[0] == 200
            assert time.monotonic() < begin + 5
            own.request("GET", "/health", headers=headers)  # the owner's other connection is still open
            assert own.getresponse().status == 200
            own.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_requests_of_the_owner_at_once(server: LocalServer) -> None:
    """800 connections that the owner opens at once are all answered."""
    port = urlsplit(server.base_url).port
    request = (
        f"GET /v1/files?limit=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
    )
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(_connect(server)) for _ in range(800)]
        for connection in connections:
            connection.sendall(request.encode())
        assert {connection.recv(12) for connection in connections} == {b"HTTP/1.1 200"}
