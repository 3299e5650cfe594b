"""A provider whose batches complete at once. `python server.py FOLDER BYTES [DELAY [RATE [POST]]]` prints its base URL.

It keeps files in FOLDER: uploads until they are answered, and results until they are downloaded, so that many runs need
the space of one. Each request is answered with a success of about BYTES, in random order. Each HTTP answer is delayed
by DELAY seconds, the answer to a POST by POST seconds more, and all connections together transfer RATE bytes per second
(0: no limit). It ends when its standard input is closed.
"""

from __future__ import annotations

import json
import random
import re
import secrets
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from inputs import MARK, text

_MAX_HEAD = 1 << 16
_CUSTOM_ID = re.compile(rb'"custom_id": ?"((?:[^"\\]|\\.)*)"')
_NOT_FOUND: dict[str, Any] = {"error": {"message": "there is nothing of that name"}}


class Link:
    """A link that all connections share: it has `rate` bytes per second. Answers come after `delay` seconds.

    The answer to a POST comes `post` seconds later than that.
    """

    def __init__(self, delay: float = 0, rate: float = 0, post: float = 0) -> None:
        self.delay, self.post, self._rate = delay, post, rate
        self._free_at = 0.0
        self._lock = threading.Lock()

    def carry(self, count: int) -> None:
        """Wait until the link has transferred `count` bytes."""
        if self._rate:
            with self._lock:
                self._free_at = max(self._free_at, time.monotonic()) + count / self._rate
                until = self._free_at
            time.sleep(max(0.0, until - time.monotonic()))


class Store:
    """The files of the server, by their ids, and its batches."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._size = size
        self._sizes: dict[str, int] = {}
        self._batches: dict[str, dict[str, Any]] = {}

    def new(self) -> str:
        """Return the id of a new file."""
        return f"file-{secrets.token_hex(8)}"

    def file(self, file_id: str) -> dict[str, Any]:
        """Describe a file. An upload is stored as the form that it arrived in, so its size is not known."""
        size = self._sizes.get(file_id)
        purpose = "batch" if size is None else "batch_output"
        record = {"id": file_id, "object": "file", "bytes": size, "created_at": 1}
        return record | {"filename": "f.jsonl", "purpose": purpose}

    def create(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Make a batch and its results; the answer is still without results."""
        count = self._answer(self.folder / fields["input_file_id"])
        batch_id = "batch_" + fields["input_file_id"].removeprefix("file-")
        self._batches[batch_id] = {
            "id": batch_id,
            "object": "batch",
            "endpoint": fields["endpoint"],
            "input_file_id": fields["input_file_id"],
            "completion_window": fields["completion_window"],
            "created_at": 1,
            "metadata": fields.get("metadata"),
            "status": "completed",
            "output_file_id": _results_of(fields["input_file_id"]),
            "request_counts": {"total": count, "completed": count, "failed": 0},
        }
        return self._batches[batch_id] | {"status": "validating", "output_file_id": None}

    def batch(self, batch_id: str) -> dict[str, Any]:
        """Describe a batch."""
        return self._batches.get(batch_id, _NOT_FOUND)

    def _answer(self, source: Path) -> int:
        """Write the results of an upload, and return how many there are."""
        with source.open("rb") as form:
            found = [match[1] for line in form if (match := _CUSTOM_ID.search(line, 0, 200))]
        random.Random(1).shuffle(found)  # noqa: S311 - only an order, not a secret
        bare = len(json.dumps(_result("")))
        line = json.dumps(_result(text(0, max(1, self._size - bare))), ensure_ascii=False).encode()
        before, _, after = line.partition(b'"?"')
        results = self.folder / _results_of(source.name)
        with results.open("wb") as out:
            out.writelines(b'%b"%b"%b\n' % (before, custom_id, after) for custom_id in found)
            self._sizes[results.name] = out.tell()
        source.unlink()
        return len(found)


def _results_of(file_id: str) -> str:
    return file_id.replace("file", "result")


def _result(content: str) -> dict[str, object]:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": f"{MARK} {content}"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 30, "completion_tokens": 40, "total_tokens": 70},
    }
    response = {"status_code": 200, "request_id": "req-1", "body": body}
    return {"id": "batch_req_1", "custom_id": "?", "response": response, "error": None}


def serve(listening: socket.socket, store: Store, link: Link) -> None:
    """Answer connections, each in its own thread."""
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_talk, args=(connection, store, link), daemon=True).start()


def _talk(connection: socket.socket, store: Store, link: Link) -> None:
    buffer = memoryview(bytearray(1 << 18))
    rest = b""
    with connection:
        while True:
            head, found, rest = _head(connection, rest)
            if not found:
                return
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
            left = int(fields.get(b"content-length", b"0")) - len(rest)
            if fields.get(b"expect", b"").strip() == b"100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            words = path.partition("?")[0].split("/")[2:]
            upload = store.new()
            with (store.folder / upload).open("wb") as out:
                out.write(rest)
                while left > 0:
                    count = connection.recv_into(buffer[: min(len(buffer), left)])
                    if not count:
                        return
                    link.carry(count)
                    out.write(buffer[:count])
                    left -= count
            rest = b""
            time.sleep(link.delay + (link.post if method == "POST" else 0))
            _answer(connection, store, method, words, upload, link)
            if (method, words) != ("POST", ["files"]):
                (store.folder / upload).unlink(missing_ok=True)


def _head(connection: socket.socket, head: bytes) -> tuple[bytes, bytes, bytes]:
    while b"\r\n\r\n" not in head:
        more = connection.recv(4096)
        if not more or len(head) > _MAX_HEAD:
            return b"", b"", b""
        head += more
    return head.partition(b"\r\n\r\n")


def _answer(connection: socket.socket, store: Store, method: str, words: list[str], upload: str, link: Link) -> None:
    match words:
        case ["files", file_id, "content"]:
            with (store.folder / file_id).open("rb") as content:
                size = (store.folder / file_id).stat().st_size
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                while piece := content.read(1 << 18):
                    link.carry(len(piece))
                    connection.sendall(piece)
            (store.folder / file_id).unlink()
            return
        case ["files"] if method == "POST":
            answer = store.file(upload)
        case ["files", file_id]:
            answer = store.file(file_id)
        case ["batches"] if method == "POST":
            answer = store.create(json.loads((store.folder / upload).read_bytes()))
        case ["batches", batch_id]:
            answer = store.batch(batch_id)
        case _:
            answer = {"object": "list", "data": [], "has_more": False}
    body = json.dumps(answer).encode()
    status = b"404 Not Found" if answer is _NOT_FOUND else b"200 OK"
    kind = b"Content-Type: application/json\r\n"
    connection.sendall(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, kind, len(body), body))


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)
    kept = Store(Path(sys.argv[1]), int(sys.argv[2]))
    threading.Thread(target=serve, args=(listening, kept, Link(*map(float, sys.argv[3:]))), daemon=True).start()
    sys.stdin.read()
