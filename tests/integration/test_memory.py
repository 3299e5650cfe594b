"""Uploads and downloads of any size need a small, fixed amount of memory."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


SIZE = 200_000_000
LIMIT = 80 * 1024
"""Peak resident memory in KiB."""

CLIENT = """
import re, sys
from openai_batch.providers.openai_api import OpenAIBatchApi
from openai_batch.providers.provider import Provider
api = OpenAIBatchApi(Provider(name="plain", base_url=sys.argv[2]))
if sys.argv[1] == "up":
    with open(sys.argv[3], "rb") as handle:
        print(api.upload(handle, "obatch-x.jsonl").size)
else:
    with open(sys.argv[3], "w+b") as handle:
        print(api.download("file-1", handle), handle.tell())
api.close()
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


class Plain:
    """A server that counts the bytes it receives and sends zeros, through a fixed buffer."""

    def __init__(self) -> None:
        self.received = 0
        self.head = b""
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._door.accept()
            except OSError:
                return
            with connection:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1024)
        head, _, rest = head.partition(b"\r\n\r\n")
        if head.startswith(b"POST"):
            self.head = rest
            found = re.search(rb"(?i)content-length: (\d+)", head)
            assert found
            self.received = len(rest)
            buffer = bytearray(1 << 16)
            while self.received < int(found[1]):
                self.received += (count := connection.recv_into(buffer))
                if len(self.head) < 2000:
                    self.head += buffer[:count]
        body = b'{"id": "file-1", "object": "file", "bytes": %d}' % SIZE
        whole = head.startswith(b"GET") and b"/content" in head.split(b"\r\n")[0]
        length = SIZE if whole else len(body)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length)
        if not whole:
            connection.sendall(body)
            return
        block = b"{}\n" * 20_000
        for sent in range(0, SIZE, len(block)):
            connection.sendall(block[: SIZE - sent])

    def close(self) -> None:
        """Stop accepting connections."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()


@pytest.fixture
def plain() -> Iterator[Plain]:
    """Run a plain server."""
    server = Plain()
    yield server
    server.close()


def run(what: str, plain: Plain, path: Path) -> list[int]:
    """Run the client in its own process, and return the numbers that it prints, with the peak memory last."""
    command = [sys.executable, "-c", CLIENT, what, plain.url, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def test_an_upload_is_streamed(plain: Plain, tmp_path: Path) -> None:
    """An upload of 200 MB needs less than 80 MiB of memory, and its file name ends in .jsonl."""
    path = tmp_path / "big.jsonl"
    with path.open("wb") as handle:
        handle.truncate(SIZE)
    size, peak = run("up", plain, path)
    assert size == SIZE
    assert SIZE < plain.received < SIZE + 2000
    assert b'filename="obatch-x.jsonl"' in plain.head
    assert peak < LIMIT


def test_a_download_is_streamed(plain: Plain, tmp_path: Path) -> None:
    """A download of 200 MB needs less than 80 MiB of memory."""
    path = tmp_path / "big.jsonl"
    count, place, peak = run("down", plain, path)
    assert count == place == path.stat().st_size == SIZE
    assert peak < LIMIT
