"""A small provider on a real socket with planned statuses and faults, which records every request."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage


@dataclass
class Call:
    """One received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stub:
    """The plan, and what happened.

    `statuses` are shown one per poll, then always the last one. `faults` are (path pattern, status, headers), each
    used once, instead of the normal answer. `lose_create` drops the connection after a batch has been created.
    `failing` are custom ids whose request ends in the error file.
    """

    base_url: str = ""
    statuses: list[str] = field(default_factory=lambda: ["completed"])
    faults: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    errors: list[dict[str, Any]] = field(default_factory=list)
    lose_create: bool = False
    empty_error_id: bool = False
    calls: list[Call] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    looks: int = 0

    def seen(self, method: str, pattern: str) -> list[Call]:
        """Return the calls with that method whose path matches."""
        return [call for call in self.calls if call.method == method and re.search(pattern, call.path)]

    def lines(self, file_id: str) -> list[dict[str, Any]]:
        """Return the parsed lines of a file."""
        return [json.loads(line) for line in self.files[file_id].splitlines()]

    def uploaded(self) -> bytes:
        """Return the content of the only uploaded input."""
        (file_id,) = (name for name in self.files if name.startswith("file-in"))
        return self.files[file_id]

    def answer(self, call: Call) -> tuple[int, bytes] | None:
        """Return the status and the body; None drops the connection."""
        if call.path == "/v1/files" and call.method == "POST":
            return 200, self._upload(call)
        if call.path == "/v1/batches" and call.method == "POST":
            try:
                made = self._create(json.loads(call.body))
            except ValueError as exc:  # an input that is not JSON is reported at once
                return 400, _json({"error": {"message": str(exc)}})
            return None if self.lose_create else (200, made)
        if call.path.startswith("/v1/batches?") or call.path == "/v1/batches":
            return 200, _json({"object": "list", "data": list(self.batches.values()), "has_more": False})
        if (found := re.fullmatch(r"/v1/batches/([^/?]+)", call.path)) and found[1] in self.batches:
            return 200, self._look(found[1])
        if (found := re.fullmatch(r"/v1/files/([^/?]+)(/content)?", call.path)) and found[1] in self.files:
            data = self.files[found[1]]
            return 200, data if found[2] else _json({"id": found[1], "object": "file", "bytes": len(data)})
        return 404, _json({"error": {"message": f"nothing at {call.path}", "type": "invalid_request_error"}})

    def _upload(self, call: Call) -> bytes:
        head = f"Content-Type: {call.headers['content-type']}\r\n\r\n".encode()
        message: EmailMessage = BytesParser(policy=HTTP).parsebytes(head + call.body)
        for part in message.iter_parts():
            if part.get_param("name", header="content-disposition") == "file":
                file_id = f"file-in{len(self.files)}"
                self.files[file_id] = part.get_payload(decode=True)  # type: ignore[assignment]
                self.names[file_id] = str(part.get_filename())
                return _json({"id": file_id, "object": "file", "bytes": len(self.files[file_id])})
        raise AssertionError(call)

    def _create(self, body: dict[str, Any]) -> bytes:
        batch_id = f"batch_{len(self.batches) + 1}"
        lines = self.lines(body["input_file_id"])
        bad = [line for line in lines if line["custom_id"] in self.failing]
        good = [line for line in lines if line["custom_id"] not in self.failing]
        self.batches[batch_id] = body | {
            "id": batch_id,
            "object": "batch",
            "status": "validating",
            "created_at": 1,
            "good": [_result(line, 200) for line in good],
            "bad": [_result(line, 400) for line in bad],
        }
        return _json(self.batches[batch_id])

    def _look(self, batch_id: str) -> bytes:
        batch = self.batches[batch_id]
        batch["status"] = self.statuses[min(self.looks, len(self.statuses) - 1)]
        self.looks += 1
        if batch["status"].lower() in ("completed", "expired", "cancelled"):
            for key, name in (("good", "output"), ("bad", "error")):
                if batch[key]:
                    self.files[f"file-{name}-{batch_id}"] = b"".join(_json(line) + b"\n" for line in batch[key])
                    batch[f"{name}_file_id"] = f"file-{name}-{batch_id}"
            if self.empty_error_id:
                batch["error_file_id"] = ""
            done, failed = len(batch["good"]), len(batch["bad"])
            batch["request_counts"] = {"total": done + failed, "completed": done, "failed": failed}
        if self.errors:
            batch["errors"] = {"object": "list", "data": self.errors}
        return _json({key: value for key, value in batch.items() if key not in ("good", "bad")})


@contextlib.contextmanager
def running(**plan: Any) -> Iterator[Stub]:
    """Run a stub with that plan on its own port."""
    stub = Stub(**plan)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            if headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            call = Call(self.command, self.path, headers, body)
            stub.calls.append(call)
            for fault in stub.faults:
                if re.search(fault[0], f"{call.method} {call.path}"):
                    stub.faults.remove(fault)
                    self._send(fault[1], _json({"error": {"message": "as planned"}}), fault[2])
                    return
            answer = stub.answer(call)
            if answer is None:
                self.close_connection = True
                return
            self._send(*answer, {})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.close_connection = "Content-Length" in headers  # a planned length is wrong, so it is closed
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        do_GET = _serve  # noqa: N815 - the base class's names
        do_POST = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _result(line: dict[str, Any], status: int) -> dict[str, Any]:
    body = {"ok": line["body"]} if status == 200 else {"error": {"message": "refused as planned"}}
    return {
        "id": f"r-{line['custom_id']}",
        "custom_id": line["custom_id"],
        "response": {"status_code": status, "request_id": "q", "body": body},
        "error": None,
    }


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
