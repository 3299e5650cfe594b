"""One request and its answer over a raw socket, so that the answer can be reset, cut, delayed or invalid."""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from support.endless import ENDLESS

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from support.plan import Fault

HTML = b"<!doctype html><title>Welcome</title><p>Please sign in to this network.</p>"
_SOCKETS = Path("/proc/net/tcp")
"""Where Linux shows how much data each socket has not sent or read yet."""
_REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 307: "Temporary Redirect", 404: "Not Found"}


@dataclass
class Request:
    """One request; `body` is the part that was read, `fault` is what was sent instead of a good answer."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    at: float
    fault: Fault | None = None


class Dropped(Exception):  # noqa: N818 - ends the handling of a connection; not an error
    """The connection has ended."""


class Exchange:
    """One connection: reads the request, and sends a good or a bad answer; `reshape` changes each good answer."""

    def __init__(self, connection: socket.socket, stopping: threading.Event) -> None:
        self.reshape: Callable[[Any], Any] = lambda data: data
        self._connection = connection
        self._stopping = stopping
        connection.settimeout(30)

    def receive_head(self) -> Request | None:
        """Read up to the end of the headers; return None if nothing was sent."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self._connection.recv(1 << 16)
            if not chunk:
                return None
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        parts = urlsplit(target)
        return Request(method, parts.path, parse_qs(parts.query), headers, body, time.time())

    def receive_body(self, request: Request, *, at_least: int | None = None) -> None:
        """Read until the body has `at_least` bytes; by default, all of it."""
        length = int(request.headers.get("content-length", "0"))
        pieces = [request.body]
        missing = (length if at_least is None else min(at_least, length)) - len(request.body)
        while missing > 0:
            chunk = self._connection.recv(1 << 16)
            if not chunk:
                raise Dropped
            pieces.append(chunk)
            missing -= len(chunk)
        request.body = b"".join(pieces)

    def answer(self, data: Any, fault: Fault | None = None, elsewhere: socket.socket | None = None) -> None:
        """Send JSON, or the fault instead."""
        body = json.dumps(self.reshape(data)).encode()
        if fault is not None:
            self.misbehave(fault, body, elsewhere)
        self.send(200, body)

    def refuse(self, status: int, message: str, **headers: str) -> None:
        """Send an error in the format of OpenAI."""
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        self.send(status, json.dumps({"error": error}).encode(), **headers)

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """Send a whole answer, with its length unless another one is given."""
        head = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
        head |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.send_raw(status, {name: value for name, value in head.items() if value}, body)

    def misbehave(self, fault: Fault, good: bytes, elsewhere: socket.socket | None) -> None:
        """Send the fault instead of the body `good`, and end the connection."""
        kind = fault.kind
        if kind == "hang":
            self._stopping.wait(30)
        elif kind == "reset":
            self.reset()
        elif kind in ENDLESS:
            ENDLESS[kind](self, good, fault, self._stopping)
        elif kind == "garbage":
            self._connection.sendall(b"\x00\x01 this is not HTTP\r\n\r\n")
        elif kind in ("html", "string", "empty", "cut", "deep"):
            bodies = {"html": HTML, "string": b'"ok"', "empty": b"{}", "cut": good[: len(good) // 2]}
            body = bodies.get(kind, b"[" * 100_000)
            self.send(200, body, "text/html" if kind == "html" else "application/json")
        elif kind in ("301", "302", "303", "307", "308"):
            assert elsewhere is not None
            place = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/v1/elsewhere"
            self.send(int(kind), b"", Location=place)
        elif kind == "502":
            self.send(502, HTML, "text/html")
        elif kind == "quota":
            self.refuse(429, "You exceeded your current quota, please check your plan (insufficient_quota).")
        elif kind.isdigit():
            self.refuse(int(kind), fault.arg if kind == "400" else "as planned", Retry_After=fault.arg)
        else:
            assert kind == "close", f"unknown fault {fault}"
        raise Dropped

    def send_bytes(self, data: bytes) -> None:
        """Send more bytes of an answer."""
        self._connection.sendall(data)

    def wait_until_read(self) -> None:
        """Wait until the other side has read everything, as far as the kernel shows it."""
        if not _SOCKETS.exists():
            time.sleep(0.2)
            return
        ours, theirs = self._connection.getsockname(), self._connection.getpeername()
        ends = {f":{ours[1]:04X} ", f":{theirs[1]:04X} "}
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            lines = [line for line in _SOCKETS.read_text().splitlines() if all(end in line for end in ends)]
            if all(line.split()[4] == "00000000:00000000" for line in lines):
                return
            time.sleep(0.005)

    def reset(self) -> None:
        """End the connection with a reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()
        raise Dropped

    def send_raw(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send an answer with only these headers."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Planned')}", *(f"{k}: {v}" for k, v in headers.items())]
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
