"""The server of a fake provider. It keeps everything in memory, and listens on 127.0.0.1 only."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from openai_batch.requests.endpoints import ENDPOINTS

from .answers import Failure, result_line

if TYPE_CHECKING:
    from .answers import AnswerFunction

_ANSWER = "an answer of the fake provider"
_DAY = 86_400
_PAGE = 100


class FakeServer:
    """The files and batches of a fake provider, and the thread that serves them."""

    def __init__(self, answer: AnswerFunction | None, polls: int) -> None:
        self.requests: list[dict[str, Any]] = []
        self.batches: dict[str, dict[str, Any]] = {}
        self.failures: list[tuple[str, int, str]] = []  # calls that will fail: (method and path, status, message)
        self._answer = answer or (lambda _: _ANSWER)
        self._polls = polls
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._looks: dict[str, int] = {}  # how often each batch may still be seen running
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.fake = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.base_url: str = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def respond(self, method: str, path: str, query: dict[str, list[str]], body: bytes, kind: str) -> tuple[int, bytes]:
        """Return the status and the body of the answer to a call."""
        with self._lock:
            call = f"{method} {path}"
            for number, (wanted, status, message) in enumerate(self.failures):
                if call.startswith(wanted):
                    del self.failures[number]
                    return _error(status, message)
            match method, path.strip("/").split("/"):
                case "POST", ["files"]:
                    return _json(self._keep(*_uploaded(body, kind)))
                case "GET", ["files", name] if name in self._files:
                    return _json(self._files[name][0])
                case "GET", ["files", name, "content"] if name in self._files:
                    return 200, self._files[name][1]
                case "POST", ["batches"]:
                    return self._create(json.loads(body))
                case "GET", ["batches"]:
                    return _json(self._listed(query))
                case "GET", ["batches", name] if name in self.batches:
                    return _json(self._seen(name))
                case "POST", ["batches", name, "cancel"] if name in self.batches:
                    return _json(self._cancelled(name))
            return self._answered(method, f"/v1{path}", body)

    def _answered(self, method: str, url: str, content: bytes) -> tuple[int, bytes]:
        """Return the answer to a request that is in no batch."""
        if method != "POST" or url not in ENDPOINTS.values():
            return _error(404, f"there is no {url.removeprefix('/v1')}")
        body = json.loads(content)
        request = {"custom_id": f"single-{next(self._numbers)}", "method": "POST", "url": url, "body": body}
        self.requests.append(request)
        _, line = self._answer_to(request)
        response = (line or result_line(request, Failure()))["response"]
        return response["status_code"], json.dumps(response["body"]).encode()

    def _answer_to(self, request: dict[str, Any]) -> tuple[bool, dict[str, Any] | None]:
        """Return whether a request succeeds, and its result line; None if it has no result."""
        try:
            answer = self._answer(request)
            line = None if answer is None else result_line(request, answer)
            json.dumps(line, allow_nan=False)
        except BaseException as exc:  # noqa: BLE001 - it is the answer to this request, also `pytest.fail`
            answer = Failure(500, f"{type(exc).__name__}: {exc}")
            line = result_line(request, answer)
        return not isinstance(answer, Failure), line

    def _keep(self, filename: str, data: bytes, purpose: str = "batch") -> dict[str, Any]:
        file_id = f"file-fake{next(self._numbers)}"
        record = {
            "id": file_id,
            "object": "file",
            "bytes": len(data),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        self._files[file_id] = (record, data)
        return record

    def _create(self, wanted: dict[str, Any]) -> tuple[int, bytes]:
        if wanted.get("input_file_id") not in self._files:
            return _error(400, "there is no such input file")
        batch_id = f"batch_fake{next(self._numbers)}"
        lines = self._files[wanted["input_file_id"]][1].splitlines()
        self.batches[batch_id] = {
            "id": batch_id,
            "object": "batch",
            "status": "in_progress",
            "endpoint": wanted["endpoint"],
            "input_file_id": wanted["input_file_id"],
            "completion_window": wanted["completion_window"],
            "created_at": int(time.time()),
            "expires_at": int(time.time()) + _DAY,
            "metadata": wanted.get("metadata"),
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        self._looks[batch_id] = self._polls
        return _json(self.batches[batch_id])

    def _seen(self, batch_id: str) -> dict[str, Any]:
        """Return a batch; it ends when it has been seen running often enough."""
        batch = self.batches[batch_id]
        if batch["status"] == "in_progress":
            if not self._looks[batch_id]:
                self._end(batch)
            self._looks[batch_id] -= 1
        return batch

    def _end(self, batch: dict[str, Any]) -> None:
        """Answer the requests of a batch."""
        good: list[str] = []
        bad: list[str] = []
        for line in self._files[batch["input_file_id"]][1].splitlines():
            request = json.loads(line)
            self.requests.append(request)
            succeeds, result = self._answer_to(request)
            if result is not None:
                (good if succeeds else bad).append(json.dumps(result))
        for key, lines in (("output_file_id", good), ("error_file_id", bad)):
            data = "".join(f"{line}\n" for line in lines).encode()
            wanted = lines or (key == "output_file_id" and not bad)
            batch[key] = self._keep(f"{batch['id']}.jsonl", data, "batch_output")["id"] if wanted else None
        batch["status"], batch["completed_at"] = "completed", int(time.time())
        batch["request_counts"] |= {"completed": len(good), "failed": batch["request_counts"]["total"] - len(good)}

    def _cancelled(self, batch_id: str) -> dict[str, Any]:
        batch = self.batches[batch_id]
        if batch["status"] == "in_progress":
            batch["status"] = "cancelled"
        return batch

    def _listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return a page of the batches, the newest first."""
        newest = list(reversed(self.batches.values()))
        after, limit = query.get("after", [""])[0], int(query.get("limit", [str(_PAGE)])[0])
        start = next((number + 1 for number, batch in enumerate(newest) if batch["id"] == after), 0)
        page = newest[start : start + limit]
        return {"object": "list", "data": page, "has_more": start + limit < len(newest)}


class _Server(ThreadingHTTPServer):
    """Has a thread for each connection."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing if a client has gone away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers the calls of a connection, one after the other."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    do_POST = do_GET  # noqa: N815 - the name is the server's

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client has gone away
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        server: FakeServer = self.server.fake  # type: ignore[attr-defined]
        kind = self.headers.get("Content-Type", "")
        path = parts.path.removeprefix("/v1")
        status, answer = server.respond(self.command, path, parse_qs(parts.query), body, kind)
        self.send_response(status)
        self.send_header(
            "Content-Type", "application/octet-stream" if path.endswith("/content") else "application/json"
        )
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        """Print nothing."""


def _json(value: dict[str, Any]) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


def _error(status: int, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"error": {"message": message, "type": "fake", "code": None}}).encode()


def _uploaded(body: bytes, kind: str) -> tuple[str, bytes]:
    """Return the name and the bytes of the file in a multipart form."""
    boundary = b"--" + kind.partition("boundary=")[2].strip('"').encode()
    for part in body.split(boundary)[1:]:
        head, _, data = part.partition(b"\r\n\r\n")
        if b"filename=" in head:
            name = head.partition(b'filename="')[2].partition(b'"')[0]
            return name.decode("utf-8", "replace"), data.removesuffix(b"\r\n")
    return "input.jsonl", b""
