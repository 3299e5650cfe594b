"""The memory of the server does not grow with the size of files."""

from __future__ import annotations

import hashlib
import http.client
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from support.batch import chat_line, finish
from support.servers import local_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.servers import EchoUpstream, LocalServer

MIB = 1 << 20
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory from /proc"),
]


def _peak(server: LocalServer) -> float:
    """Return the peak memory of the server in MiB."""
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def _upload(server: LocalServer, pieces: Iterator[bytes], size: int) -> str:
    """Upload `size` bytes in pieces; return the body of the answer."""
    head = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="large.jsonl"\r\n\r\n'
    )
    tail = b"\r\n--b--\r\n"
    connection = http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=120)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Authorization", f"Bearer {server.token}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(len(head) + size + len(tail)))
    connection.endheaders(head)
    for piece in pieces:
        connection.send(piece)
    connection.send(tail)
    reply = connection.getresponse()
    text = reply.read().decode()
    assert reply.status == 200, text
    connection.close()
    return text


def test_large_file(tmp_path: Path, echo: EchoUpstream) -> None:
    """200 MiB are uploaded and downloaded correctly, and the server stays under 80 MiB."""
    from openai.types import FileObject

    piece = b'{"filler": "' + b"x" * (MIB - 15) + b'"}\n'
    assert len(piece) == MIB
    digest = hashlib.sha256(piece * 8)
    for _ in range(24):
        digest.update(piece * 8)
    with local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        file = FileObject.model_validate_json(_upload(server, (piece for _ in range(200)), 200 * MIB))
        assert file.bytes == 200 * MIB
        received = hashlib.sha256()
        with client.files.with_streaming_response.content(file.id) as content:
            for chunk in content.iter_bytes(MIB):
                received.update(chunk)
        assert received.digest() == digest.digest()
        assert _peak(server) < 80


def test_large_batch(tmp_path: Path, echo: EchoUpstream) -> None:
    """A batch of 64 MiB runs, and the server stays under 100 MiB."""
    filler = "y" * 65_000
    rows = [chat_line(f"row-{i}", "large", filler=filler) + "\n" for i in range(1000)]
    with local_server(tmp_path, upstream=echo.base_url, concurrency=16) as server, server.client() as client:
        size = sum(len(row) for row in rows)
        assert size > 60 * MIB
        _upload(server, (row.encode() for row in rows), size)
        (file,) = client.files.list()
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        done = finish(client, batch)
        assert done.request_counts is not None
        assert done.request_counts.completed == 1000
        assert _peak(server) < 100
