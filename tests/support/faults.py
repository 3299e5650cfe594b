"""A provider of the Files and Batches calls that fails as planned, on raw sockets, with a ledger of what it did.

    with fault_server() as server:
        ...  # upload requests whose model is a plan (see `plan`), create a batch of them
        assert len(server.batches) == 1

Effects come first and faults after: the only order that finds a batch that was paid for twice. Each connection
serves one request. The ledger is also at GET /_ledger. Words of the plan's `shape` setting: nocounts, nullcounts,
emptyids, upper (statuses in upper case), errorslist, errorsstrings, noerrors, tokenlimit, nofilemark (listings
without input_file_id), nometadata (metadata is dropped), nohasmore, oldestfirst, noafter (`after` is ignored).
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from support.plan import Fault, Plan, model_in, read_plan, results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HTML = b"<!doctype html><title>Welcome</title><p>Please sign in to this network.</p>"
_REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 307: "Temporary Redirect", 404: "Not Found"}


@dataclass
class Request:
    """One request as it came in; `body` is what was read of it, `fault` what was done instead of a good answer."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    at: float
    fault: Fault | None = None


@dataclass
class StoredFile:
    """A file: an input that came, or a result of a batch."""

    id: str
    name: str
    data: bytes
    plan: Plan
    purpose: str = "batch"


@dataclass
class StoredBatch:
    """A batch: `looks` counts its polls."""

    id: str
    input: StoredFile
    endpoint: str
    metadata: dict[str, str]
    created: float
    looks: int = 0
    cancelled: bool = False
    view: dict[str, Any] = field(default_factory=dict)


class Dropped(Exception):  # noqa: N818 - ends the handling of a connection; nothing is wrong
    """The connection has had its end."""


class FaultServer:
    """The server. What it holds may be read at any time; `strays` are requests that came to another port of ours."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, StoredBatch] = {}
        self.strays: list[bytes] = []
        self._plans: dict[str, Plan] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._elsewhere = self._listen(0, self._note_stray)
        self._door = self._listen(0, self._serve)
        self.port = self._door.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def seen(self, method: str, path: str) -> list[Request]:
        """Return the requests of that method whose whole path matches the pattern."""
        with self._lock:
            return [r for r in self.requests if r.method == method and re.fullmatch(f"/v1{path}", r.path)]

    @property
    def creates(self) -> list[Request]:
        """The requests to create a batch."""
        return self.seen("POST", "/batches")

    @property
    def uploads(self) -> list[Request]:
        """The requests to upload a file."""
        return self.seen("POST", "/files")

    def deafen(self) -> None:
        """Refuse new connections from now on."""
        # A thread in accept() keeps the socket alive: shutting it down wakes that thread first.
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def hear(self) -> None:
        """Take connections again, on the same port."""
        self._door = self._listen(self.port, self._serve)

    def stop(self) -> None:
        """End everything that hangs, and the server."""
        self._stopping.set()
        self.deafen()
        with contextlib.suppress(OSError):
            self._elsewhere.shutdown(socket.SHUT_RDWR)
        self._elsewhere.close()

    def _listen(self, port: int, serve: Callable[[socket.socket], None]) -> socket.socket:
        door = socket.create_server(("127.0.0.1", port), backlog=64)

        def accept() -> None:
            while True:
                try:
                    connection, _ = door.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return door

    def _note_stray(self, connection: socket.socket) -> None:
        with connection:
            self.strays.append(connection.recv(1 << 16))

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(Dropped, OSError):
            exchange = _Exchange(connection, self._stopping)
            request = exchange.receive_head()
            if request is None:
                return
            with self._lock:
                self.requests.append(request)
            self._route(exchange, request)

    def _route(self, exchange: _Exchange, request: Request) -> None:
        call = f"{request.method} {request.path}"
        if call == "POST /v1/files":
            self._upload(exchange, request)
            return
        exchange.receive_body(request)
        if call == "POST /v1/batches":
            self._create(exchange, request)
        elif call == "GET /v1/batches":
            self._list(exchange, request)
        elif found := re.fullmatch(r"(GET|POST) /v1/batches/([^/]+)(/cancel)?", call):
            self._poll(exchange, request, found[2], cancel=bool(found[3]))
        elif found := re.fullmatch(r"GET /v1/files/([^/]+)(/content)?", call):
            self._file(exchange, request, found[1], content=bool(found[2]))
        elif call == "GET /_ledger":
            exchange.answer(self.ledger())
        else:
            exchange.refuse(404, f"nothing at {call}")

    def ledger(self) -> dict[str, Any]:
        """Return what was done, as plain data."""
        with self._lock:
            return {
                "requests": [
                    {"method": r.method, "path": r.path, "headers": r.headers, "bytes": len(r.body), "at": r.at}
                    for r in self.requests
                ],
                "batches": [{"id": b.id, "input_file_id": b.input.id, **b.metadata} for b in self.batches.values()],
                "files": [{"id": f.id, "name": f.name, "bytes": len(f.data)} for f in self.files.values()],
            }

    def _store(self, kind: str, name: str, data: bytes, plan: Plan, purpose: str) -> StoredFile:
        with self._lock:
            file = StoredFile(f"file-{kind}{next(self._numbers)}", name, data, plan, purpose)
            self.files[file.id] = file
            return file

    def _upload(self, exchange: _Exchange, request: Request) -> None:
        exchange.receive_body(request, at_least=4096)
        plan = self._plan_of(request.body)
        request.fault = fault = plan.take("upload")
        if fault and not fault.made and fault.kind != "deaf":
            if fault.kind == "reset":
                exchange.receive_body(request, at_least=int(fault.number(0)))
            exchange.misbehave(fault, b"{}", self._elsewhere)
        exchange.receive_body(request)
        name, purpose, data = _form(request)
        file = self._store("in", name, data, plan, purpose)
        if fault and fault.kind == "deaf":
            self.deafen()
            fault = None
        exchange.answer(_file_view(file), fault, self._elsewhere)

    def _plan_of(self, head: bytes) -> Plan:
        """Return the plan of an upload; one that comes again goes on with the plan as it then stands."""
        model = model_in(head)
        with self._lock:
            return self._plans.setdefault(model, read_plan(model))

    def _create(self, exchange: _Exchange, request: Request) -> None:
        body = json.loads(request.body)
        file = self.files.get(body["input_file_id"])
        if file is None:
            exchange.refuse(400, f"Cannot find file {body['input_file_id']}.")
            return
        request.fault = fault = file.plan.take("create")
        if fault and fault.kind == "late":
            timer = threading.Timer(fault.number(1), lambda: self._make(file, body))
            timer.daemon = True
            timer.start()
            exchange.reset()
        if fault and not fault.made:
            exchange.misbehave(fault, b"{}", self._elsewhere)
        batch = self._make(file, body)
        view = self._view(batch)
        if fault and fault.kind == "wrongfile":
            view["input_file_id"] = "file-of-somebody-else"
            fault = None
        exchange.answer(view, fault, self._elsewhere)

    def _make(self, file: StoredFile, body: Mapping[str, Any]) -> StoredBatch:
        with self._lock:
            metadata = {} if "nometadata" in file.plan.words("shape") else dict(body.get("metadata") or {})
            number = next(self._numbers)
            batch = StoredBatch(f"batch_{number}", file, body["endpoint"], metadata, time.time())
            self.batches[batch.id] = batch
            return batch

    def _list(self, exchange: _Exchange, request: Request) -> None:
        with self._lock:
            plans = list(self._plans.values())
            shapes = {word for plan in plans for word in plan.words("shape")}
            batches = sorted(self.batches.values(), key=lambda b: b.created, reverse="oldestfirst" not in shapes)
        for plan in plans:
            fault = plan.peek("list")
            if fault and fault.kind == "lag":
                batches = [b for b in batches if b.input.plan is not plan or time.time() > b.created + fault.number(1)]
            elif fault := plan.take("list"):
                request.fault = fault
                exchange.misbehave(fault, b'{"object": "list", "data": [], "has_more": false}', self._elsewhere)
        after = request.query.get("after", [""])[0]
        if after and "noafter" not in shapes:
            ids = [batch.id for batch in batches]
            batches = batches[ids.index(after) + 1 :] if after in ids else []
        limit = int(request.query.get("limit", ["20"])[0])
        data = [self._view(batch) for batch in batches[:limit]]
        for view in data if "nofilemark" in shapes else []:
            view["input_file_id"] = None
        page: dict[str, Any] = {"object": "list", "data": data}
        if "nohasmore" not in shapes:
            page["has_more"] = len(batches) > limit or "noafter" in shapes
        exchange.answer(page)

    def _poll(self, exchange: _Exchange, request: Request, batch_id: str, *, cancel: bool) -> None:
        batch = self.batches.get(batch_id)
        if batch is None:
            exchange.refuse(404, f"No batch found with id '{batch_id}'.")
            return
        request.fault = fault = batch.input.plan.take("cancel" if cancel else "poll")
        if fault and not fault.made:
            exchange.misbehave(fault, json.dumps(self._view(batch)).encode(), self._elsewhere)
        with self._lock:
            view = self._view(batch, polled=True)
            if cancel and view["status"].lower() in ("completed", "failed", "expired", "cancelled"):
                exchange.refuse(409, f"batch {batch_id} has ended")
                return
            if cancel:
                batch.cancelled = True
                view["status"] = "cancelling"
        exchange.answer(view, fault, self._elsewhere)

    def _view(self, batch: StoredBatch, *, polled: bool = False) -> dict[str, Any]:
        plan = batch.input.plan
        steps, shape = plan.words("steps"), plan.words("shape")
        place = batch.looks
        batch.looks += polled
        view: dict[str, Any] = {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.endpoint,
            "input_file_id": batch.input.id,
            "completion_window": "24h",
            "created_at": int(batch.created),
            "metadata": batch.metadata or None,
            "status": "validating",
            "request_counts": None if "nullcounts" in shape else {"total": 0, "completed": 0, "failed": 0},
        }
        if "nullcounts" not in shape and "nocounts" in shape:
            view["request_counts"] = {"total": None, "completed": None, "failed": None}
        if batch.cancelled or (polled and place >= len(steps)):
            self._end(batch, view, place - len(steps))
        elif place and steps:
            view["status"] = steps[min(place, len(steps) - 1)]
        elif steps:
            view["status"] = steps[0]
        if "upper" in shape:
            view["status"] = view["status"].upper()
        if "emptyids" in shape:
            view |= {key: view.get(key) or "" for key in ("output_file_id", "error_file_id")}
        return view

    def _end(self, batch: StoredBatch, view: dict[str, Any], beyond: int) -> None:
        plan = batch.input.plan
        shape = plan.words("shape")
        view["status"] = "cancelled" if batch.cancelled else plan.settings.get("end", "completed")
        view[f"{view['status']}_at"] = int(time.time())
        if view["status"] == "failed":
            fault = {"code": "invalid_json_line", "message": "This line is no JSON.", "line": 2, "param": None}
            if "tokenlimit" in shape:
                message = "Enqueued token limit reached for this model."
                fault = {"code": "token_limit_exceeded", "message": message, "line": None, "param": None}
            view["errors"] = {"object": "list", "data": [fault]}
            view["errors"] = [] if "errorslist" in shape else view["errors"]
            view["errors"] = ["something went wrong"] if "errorsstrings" in shape else view["errors"]
            return
        if not batch.view:
            ids = [json.loads(line)["custom_id"] for line in batch.input.data.splitlines()]
            made = results(plan.words("rows"), ids)
            pair = {"output_file_id": made.output, "error_file_id": made.errors}
            batch.view = {
                key: self._store(key.split("_")[0], f"{batch.id}_{key}.jsonl", data, plan, "batch_output").id
                for key, data in pair.items()
                if data is not None
            }
            batch.view["request_counts"] = {"total": len(ids), "completed": made.completed, "failed": made.failed}
        late = max(beyond, 0) < int(plan.settings.get("late", "0"))
        hidden = {"request_counts"} if view["request_counts"] is None or "nocounts" in shape else set()
        hidden |= {"output_file_id", "error_file_id"} if late else set()
        view |= {key: value for key, value in batch.view.items() if key not in hidden}

    def _file(self, exchange: _Exchange, request: Request, file_id: str, *, content: bool) -> None:
        file = self.files.get(file_id)
        if file is None:
            exchange.refuse(404, f"No such File object: {file_id}")
            return
        # The input of a batch is fetched whole; faults are for the results.
        fault = file.plan.take("content" if content else "file") if file.purpose == "batch_output" else None
        request.fault = fault
        if content:
            exchange.send_content(file, request, fault, self._elsewhere)
        elif fault and fault.kind == "nobytes":
            exchange.answer(_file_view(file) | {"bytes": None})
        else:
            exchange.answer(_file_view(file), fault, self._elsewhere)


class _Exchange:
    """One connection: reading the request, and answering it well or badly."""

    def __init__(self, connection: socket.socket, stopping: threading.Event) -> None:
        self._connection = connection
        self._stopping = stopping
        connection.settimeout(30)

    def receive_head(self) -> Request | None:
        """Read up to the end of the headers; None if nothing came."""
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
        """Read on until `at_least` bytes of the body are there; all of it by default."""
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
        """Send JSON; or what the fault makes of it."""
        body = json.dumps(data).encode()
        if fault is not None:
            self.misbehave(fault, body, elsewhere)
        self.send(200, body)

    def refuse(self, status: int, message: str, **headers: str) -> None:
        """Send an error as OpenAI words it."""
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        self.send(status, json.dumps({"error": error}).encode(), **headers)

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """Send a whole answer, with its length unless a length is given."""
        head = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
        head |= {name.replace("_", "-"): value for name, value in headers.items()}
        self._send_raw(status, {name: value for name, value in head.items() if value}, body)

    def misbehave(self, fault: Fault, good: bytes, elsewhere: socket.socket | None) -> None:
        """Do what the fault says instead of sending the body `good`, and end the connection."""
        kind = fault.kind
        if kind == "hang":
            self._stopping.wait(30)
        elif kind == "reset":
            self.reset()
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
        elif kind.isdigit():
            self.refuse(int(kind), fault.arg if kind == "400" else "as planned", Retry_After=fault.arg)
        else:
            assert kind == "close", f"unknown fault {fault}"
        raise Dropped

    def reset(self) -> None:
        """End the connection with a reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()
        raise Dropped

    def send_content(self, file: StoredFile, request: Request, fault: Fault | None, elsewhere: socket.socket) -> None:
        """Send a file's bytes, whole or not."""
        data, half = file.data, len(file.data) // 2
        mode = file.plan.settings.get("range", "")
        tag = f'W/"{file.id}"' if mode == "weak" else f'"{file.id}"'
        shared = {"ETag": tag, "Accept_Ranges": "bytes"} if mode else {}
        whole = {**shared, "Content_Length": str(len(data))}
        kind = fault.kind if fault else ""
        span = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if not kind and span and mode in ("good", "wrong", "noheader", "weak"):
            start = max(0, int(span[1]) - (10 if mode == "wrong" else 0))
            told = {} if mode == "noheader" else {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            self.send(206, data[start:], "application/octet-stream", **shared, **told)
        elif not kind and span and mode == "changed":
            self.send(200, data, "application/octet-stream", ETag='"another"')
        elif kind in ("half", "reset"):
            start = int(span[1]) if span and mode == "good" else 0
            told = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
            length = str(len(data) - start)
            head = {**shared, **told, "Content_Length": length, "Connection": "close"}
            sent = data[start : start + int(fault.number(half))] if fault else b""
            self._send_raw(206 if start else 200, {k.replace("_", "-"): v for k, v in head.items()}, sent)
            if kind == "reset":
                time.sleep(0.05)  # a reset throws away what has not been read yet
                self.reset()
        elif kind == "nolength":
            self.send(200, data[:half], **{**whole, "Content_Length": ""})
        elif kind == "wholenolength":
            self.send(200, data, **{**whole, "Content_Length": ""})
        elif kind == "short":
            self.send(200, data[: int(fault.number(half)) if fault else half])
        elif kind == "long":
            self.send(200, data, Content_Length=str(len(data) + 100))
        elif kind == "chunkcut":
            chunk = f"{len(data):x}\r\n".encode() + data[:half]
            self.send(200, chunk, Content_Length="", Transfer_Encoding="chunked")
        elif kind in ("gzip", "gzipcut"):
            packed = gzip.compress(data)
            cut = packed[: len(packed) // 2] if kind == "gzipcut" else packed
            self.send(200, cut, Content_Encoding="gzip")
        elif kind == "jsonerror":
            self.send(200, b'{"error": {"message": "try again", "type": "server_error"}}')
        elif kind == "slow":
            self._send_raw(200, {"Content-Length": str(len(data)), "Connection": "close"}, b"")
            for start in range(0, len(data), len(data) // 5 + 1):
                time.sleep(0.05)
                self._connection.sendall(data[start : start + len(data) // 5 + 1])
        elif fault:
            self.misbehave(fault, data, elsewhere)
        else:
            self.send(200, data, "application/octet-stream", **shared)

    def _send_raw(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Planned')}", *(f"{k}: {v}" for k, v in headers.items())]
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def _file_view(file: StoredFile) -> dict[str, Any]:
    facts = {"id": file.id, "object": "file", "bytes": len(file.data), "created_at": int(time.time())}
    return facts | {"filename": file.name, "purpose": file.purpose, "status": "processed"}


def _form(request: Request) -> tuple[str, str, bytes]:
    """Return file name, purpose and content of an upload."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    name, purpose, data = "", "", b""
    for piece in request.body.split(b"--" + boundary)[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        if found := re.search(rb'filename="([^"]*)"', head):
            name, data = found[1].decode(), content
        elif b'name="purpose"' in head:
            purpose = content.decode()
    return name, purpose, data


@contextlib.contextmanager
def fault_server() -> Iterator[FaultServer]:
    """Run a server for the length of a test."""
    server = FaultServer()
    try:
        yield server
    finally:
        server.stop()
