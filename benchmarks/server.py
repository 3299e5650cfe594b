"""A server that takes uploads and throws them away, and gives files of any size, through a fixed buffer.

`python server.py` prints its base URL and serves until its standard input is closed. The file `file-N` has N bytes.
"""

from __future__ import annotations

import json
import socket
import sys
import threading

_BLOCK = b'{"custom_id":"row-1","response":{"status_code":200,"body":{}},"error":null}\n' * 3000
_MAX_HEAD = 1 << 16


def serve(door: socket.socket) -> None:
    """Answer connections, each in a thread of its own."""
    while True:
        connection, _ = door.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_talk, args=(connection,), daemon=True).start()


def _talk(connection: socket.socket) -> None:
    buffer = memoryview(bytearray(1 << 18))
    rest = b""
    with connection:
        while True:
            head, found, rest = _head(connection, rest)
            if not found:
                return
            words = head.split(b"\r\n", 1)[0].split(b" ")
            fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
            left = int(fields.get(b"content-length", b"0")) - len(rest)
            rest = b""
            if fields.get(b"expect", b"").strip() == b"100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while left > 0:
                count = connection.recv_into(buffer[: min(len(buffer), left)])
                if not count:
                    return
                left -= count
            _answer(connection, words[1].decode())


def _head(connection: socket.socket, head: bytes) -> tuple[bytes, bytes, bytes]:
    while b"\r\n\r\n" not in head:
        more = connection.recv(4096)
        if not more or len(head) > _MAX_HEAD:
            return b"", b"", b""
        head += more
    return head.partition(b"\r\n\r\n")


def _answer(connection: socket.socket, path: str) -> None:
    name = next((word for word in path.split("/") if word.startswith("file-")), "file-uploaded")
    number = name.removeprefix("file-")
    size = int(number) if number.isdigit() else None
    if size is not None and path.endswith("/content"):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for sent in range(0, size, len(_BLOCK)):
            connection.sendall(_BLOCK[: size - sent])
        return
    record = {"id": name, "object": "file", "bytes": size, "created_at": 1, "filename": "f.jsonl", "purpose": "batch"}
    body = json.dumps(record).encode()
    kind = b"Content-Type: application/json\r\n"
    connection.sendall(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (kind, len(body), body))


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)
    threading.Thread(target=serve, args=(listening,), daemon=True).start()
    sys.stdin.read()
