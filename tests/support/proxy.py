"""A proxy on a real socket: it accepts CONNECT, and forwards the TLS connection to a server of the test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "api.invalid"
"""A host name that does not exist."""


@dataclass
class Proxy:
    """The proxy: its port, the file with the certificate of HOST, and the heads of its requests."""

    port: int
    certificate: Path
    heads: list[str] = field(default_factory=list)


@contextlib.contextmanager
def proxy_to(port: int, folder: Path) -> Iterator[Proxy]:
    """Run a proxy that connects HOST to a plain server at a port of this machine."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    made += ["-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    proxy = Proxy(listening.getsockname()[1], certificate)

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            proxy.heads.append(_head(connection))
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with (
                context.wrap_socket(connection, server_side=True) as inner,
                socket.create_connection(("127.0.0.1", port)) as server,
            ):
                threading.Thread(target=_pass_on, args=(inner, server), daemon=True).start()
                _pass_on(server, inner)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield proxy
    finally:
        listening.close()


def _head(connection: socket.socket) -> str:
    head = b""
    while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
        head += data
    return head.decode()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Forward data until the connection ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
