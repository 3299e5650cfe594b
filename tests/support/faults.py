"""A provider with the Files and Batches API that fails as planned, on raw sockets, with a log of what it did.

    with fault_server() as server:
        ...  # upload requests whose model is a plan (see `plan`), create a batch of them
        assert len(server.batches) == 1

The effect of a request comes before its fault: only this order finds a batch that was paid twice. Each connection
serves one request. The log is also at GET /_ledger. Words of the plan's `shape` setting: nocounts, nullcounts,
emptyids, upper (statuses in upper case), errorslist, errorsstrings, noerrors, tokenlimit, noinput (no answer has
input_file_id), onlyid (the answer to a create has only the id), nohasmore, falsemore (has_more is false), oldestfirst,
noafter (`after` is ignored), lastid (a cursor that is not an id), and those of `support.altered`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from support.altered import kept, listed, renamed
from support.content import send_content
from support.exchange import Dropped, Exchange, Request
from support.plan import Fault, Plan, model_in, read_plan, results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


QUEUE_FULL = "Enqueued token limit reached for this model (token_limit_exceeded)."


@dataclass
class StoredFile:
    """A file: an upload, or a result of a batch; `recorded` is a wrong size to show."""

    id: str
    name: str
    data: bytes
    plan: Plan
    purpose: str = "batch"
    recorded: int | None = None


@dataclass
class StoredBatch:
    """A batch: `looks` counts its polls, `refused` means that the queue was full, `also` has more fields to show."""

    id: str
    input: StoredFile
    endpoint: str
    metadata: dict[str, str]
    created: float
    key: str = ""
    looks: int = 0
    cancelled: bool = False
    ended: bool = False
    refused: bool = False
    view: dict[str, Any] = field(default_factory=dict)
    also: dict[str, Any] = field(default_factory=dict)


class FaultServer:
    """The server. Its attributes may be read at any time; `strays` are the requests to its second port.

    `stored_elsewhere` is the answer to each stray (None: no answer).
    `queue_bytes` is how many bytes of input may run at a time (None: any number). A batch that exceeds it is refused
    with `queue_refuses`; otherwise it is created and fails (with `queue_fails_at_once`, in the answer to the create);
    `queue_words` is the error message. `clock` is how many seconds its clock is ahead. `models` are listed (None: no
    list). With `by_key` each key is a separate account, and `other_key_requests` are the requests for a batch of
    another key. `also` is shown in each batch, and `files_expire_at` in each file.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, StoredBatch] = {}
        self.strays: list[bytes] = []
        self.stored_elsewhere: bytes | None = None
        self.queue_bytes: int | None = None
        self.queue_refuses = True
        self.queue_words = QUEUE_FULL
        self.queue_fails_at_once = False
        self.clock = 0.0
        self.models: list[str] | None = None
        self.by_key = False
        self.other_key_requests: list[Request] = []
        self.also: dict[str, Any] = {}
        self.files_expire_at: float | None = None
        self._plans: dict[str, Plan] = {}
        self._pending: list[Callable[[], object]] = []
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._released = threading.Event()
        self._elsewhere = self._listen(0, self._note_stray)
        self._listening = self._listen(0, self._serve)
        self.port = self._listening.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def seen(self, method: str, path: str) -> list[Request]:
        """Return the requests with that method whose whole path matches the pattern."""
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

    def stop_listening(self) -> None:
        """Refuse new connections."""
        # A thread in accept() keeps the socket open: shutting it down ends that call first.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def listen_again(self) -> None:
        """Accept connections again, on the same port."""
        self._listening = self._listen(self.port, self._serve)

    def settle(self) -> None:
        """Create the batches of `create=later`, list those of `list=hide`, and send the answers of `hold`."""
        self._released.set()
        for make in self._pending:
            make()
        self._pending.clear()
        for plan in self._plans.values():
            plan.faults.pop("list", None)

    def stop(self) -> None:
        """End the server and all waiting answers."""
        self._stopping.set()
        self.stop_listening()
        with contextlib.suppress(OSError):
            self._elsewhere.shutdown(socket.SHUT_RDWR)
        self._elsewhere.close()

    def _listen(self, port: int, serve: Callable[[socket.socket], None]) -> socket.socket:
        listening = socket.create_server(("127.0.0.1", port), backlog=64)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listening

    def _note_stray(self, connection: socket.socket) -> None:
        with connection:
            self.strays.append(connection.recv(1 << 16))
            if (data := self.stored_elsewhere) is not None:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(Dropped, OSError):
            exchange = Exchange(connection, self._stopping)
            request = exchange.receive_head()
            if request is None:
                return
            with self._lock:
                self.requests.append(request)
            self._route(exchange, request)

    def _route(self, exchange: Exchange, request: Request) -> None:
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
        elif found := re.fullmatch(r"DELETE /v1/files/([^/]+)", call):
            self._delete(exchange, found[1])
        elif found := re.fullmatch(r"GET /v1/files/([^/]+)(/content)?", call):
            self._file(exchange, request, found[1], content=bool(found[2]))
        elif call == "GET /v1/models" and self.models is not None:
            told = {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
            exchange.send(200, json.dumps(told).encode(), Date=formatdate(time.time() + self.clock, usegmt=True))
        elif call == "GET /_ledger":
            exchange.answer(self.ledger())
        else:
            exchange.refuse(404, f"nothing at {call}")

    def ledger(self) -> dict[str, Any]:
        """Return everything that was done, as plain data."""
        with self._lock:
            return {
                "requests": [
                    {"method": r.method, "path": r.path, "headers": r.headers, "bytes": len(r.body), "at": r.at}
                    for r in self.requests
                ],
                "batches": [{"id": b.id, "input_file_id": b.input.id, **b.metadata} for b in self.batches.values()],
                "files": [{"id": f.id, "name": f.name, "bytes": len(f.data)} for f in self.files.values()],
            }

    def add_strangers(self, count: int) -> None:
        """Add newer batches of another program, with their own metadata."""
        file = self._store("in", "theirs.jsonl", b"{}\n" * 7, Plan(), "batch")
        for number in range(count):
            name = f"batch_theirs{number}"
            created = time.time() + self.clock + 60
            self.batches[name] = StoredBatch(
                name, file, "/v1/chat/completions", {"team": "theirs"}, created, ended=True
            )
            self.batches[name].view = {"request_counts": {"total": 7, "completed": 7, "failed": 0}}

    def _store(self, kind: str, name: str, data: bytes, plan: Plan, purpose: str) -> StoredFile:
        with self._lock:
            file = StoredFile(f"file-{kind}{next(self._numbers)}", name, data, plan, purpose)
            self.files[file.id] = file
            return file

    def _upload(self, exchange: Exchange, request: Request) -> None:
        exchange.receive_body(request, at_least=4096)
        plan = self._plan_of(request.body)
        request.fault = fault = plan.take("upload")
        if fault and not fault.made and fault.kind not in ("deaf", "hold"):
            if fault.kind == "reset":
                exchange.receive_body(request, at_least=int(fault.number(0)))
            exchange.misbehave(fault, b"{}", self._elsewhere)
        exchange.receive_body(request)
        name, purpose, data = _form(request)
        file = self._store("in", name, data, plan, purpose)
        fault = self._held(fault)
        if fault and fault.kind == "deaf":
            self.stop_listening()
            fault = None
        exchange.answer(_file_view(file), fault, self._elsewhere)

    def _held(self, fault: Fault | None) -> Fault | None:
        """Wait until `settle` if the fault is `hold`; return any other."""
        if fault is None or fault.kind != "hold":
            return fault
        self._released.wait(60)
        return None

    def _plan_of(self, head: bytes) -> Plan:
        """Return the plan of an upload; a repeated upload continues with the rest of its plan."""
        model = model_in(head)
        with self._lock:
            return self._plans.setdefault(model, read_plan(model))

    def _create(self, exchange: Exchange, request: Request) -> None:
        body = json.loads(request.body)
        file = self.files.get(body["input_file_id"])
        if file is None:
            exchange.refuse(400, f"Cannot find file {body['input_file_id']}.")
            return
        request.fault = fault = file.plan.take("create")
        if fault and fault.kind == "later":
            self._pending.append(lambda: self._make(file, body))
            exchange.reset()
        full = self._is_full(file)
        if full and self.queue_refuses:
            exchange.refuse(400, self.queue_words)
            return
        if fault and fault.kind == "late":
            timer = threading.Timer(fault.number(1), lambda: self._make(file, body))
            timer.daemon = True
            timer.start()
            exchange.reset()
        if fault and not fault.made and fault.kind != "hold":
            exchange.misbehave(fault, b"{}", self._elsewhere)
        batch = self._make(file, body)
        fault = self._held(fault)
        batch.refused = full
        batch.key = request.headers.get("authorization", "")
        view = self._view(batch, polled=full and self.queue_fails_at_once)
        if "onlyid" in file.plan.words("shape"):
            view = {"id": batch.id}
        if fault and fault.kind == "wrongfile":
            view |= {"id": "batch_of_somebody_else", "input_file_id": "file-of-somebody-else"}
            fault = None
        exchange.answer(view, fault, self._elsewhere)

    def _is_full(self, file: StoredFile) -> bool:
        """Return whether the queue has no room for a batch of this size (see `queue_bytes`)."""
        running = sum(len(b.input.data) for b in self.batches.values() if not b.ended and not b.refused)
        return self.queue_bytes is not None and running + len(file.data) > self.queue_bytes

    def _make(self, file: StoredFile, body: Mapping[str, Any]) -> StoredBatch:
        with self._lock:
            metadata = kept(body.get("metadata"), file.plan.words("shape"))
            number = next(self._numbers)
            batch = StoredBatch(f"batch_{number}", file, body["endpoint"], metadata, time.time() + self.clock)
            self.batches[batch.id] = batch
            return batch

    def _list(self, exchange: Exchange, request: Request) -> None:
        with self._lock:
            plans = list(self._plans.values())
            shapes = {word for plan in plans for word in plan.words("shape")}
            batches = sorted(self.batches.values(), key=lambda b: b.created, reverse="oldestfirst" not in shapes)
        if self.by_key:
            batches = [batch for batch in batches if batch.key == request.headers.get("authorization", "")]
        for plan in plans:
            fault = plan.peek("list")
            if fault and fault.kind == "hide":
                batches = [batch for batch in batches if batch.input.plan is not plan]
            elif fault and fault.kind == "lag":
                batches = [b for b in batches if b.input.plan is not plan or time.time() > b.created + fault.number(1)]
            elif fault := plan.take("list"):
                request.fault = fault
                exchange.misbehave(fault, b'{"object": "list", "data": [], "has_more": false}', self._elsewhere)
        after = request.query.get("after", [""])[0]
        if after and "noafter" not in shapes:
            ids = [("next-" if "lastid" in shapes else "") + batch.id for batch in batches]
            batches = batches[ids.index(after) + 1 :] if after in ids else []
        limit = int(request.query.get("limit", ["20"])[0])
        data = [listed(self._view(batch, polled=batch.ended), shapes) for batch in batches[:limit]]
        page: dict[str, Any] = {"object": "list", "data": data}
        if "lastid" in shapes and data:
            page["last_id"] = f"next-{data[-1]['id']}"
        if "nohasmore" not in shapes:
            page["has_more"] = "falsemore" not in shapes and (len(batches) > limit or "noafter" in shapes)
        exchange.answer(page)

    def _poll(self, exchange: Exchange, request: Request, batch_id: str, *, cancel: bool) -> None:
        batch = self.batches.get(batch_id)
        if batch is not None and self.by_key and batch.key != request.headers.get("authorization", ""):
            self.other_key_requests.append(request)
            batch = None
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
        if "noinput" in shape:
            view["input_file_id"] = None
        if "emptyids" in shape:
            view |= {key: view.get(key) or "" for key in ("output_file_id", "error_file_id")}
        return view | self.also | batch.also

    def _end(self, batch: StoredBatch, view: dict[str, Any], beyond: int) -> None:
        plan = batch.input.plan
        shape = plan.words("shape")
        batch.ended = True
        view["status"] = "cancelled" if batch.cancelled else plan.settings.get("end", "completed")
        if batch.refused:
            refusal = {"code": "token_limit_exceeded", "message": self.queue_words, "line": None, "param": None}
            view |= {"status": "failed", "errors": {"object": "list", "data": [refusal]}}
            return
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

    def _delete(self, exchange: Exchange, file_id: str) -> None:
        file = self.files.get(file_id)
        if file is None or "nodelete" in file.plan.words("shape"):
            exchange.refuse(404, f"nothing to delete at {file_id}")
            return
        del self.files[file_id]
        exchange.answer({"id": file_id, "object": "file", "deleted": True})

    def _file(self, exchange: Exchange, request: Request, file_id: str, *, content: bool) -> None:
        file = self.files.get(file_id)
        if file is None:
            exchange.refuse(404, f"No such File object: {file_id}")
            return
        # The input of a batch is always sent whole; faults apply only to the results.
        fault = file.plan.take("content" if content else "file") if file.purpose == "batch_output" else None
        request.fault = fault
        if content:
            fault = self._held(fault)
            mode = file.plan.settings.get("range", "")
            send_content(exchange, file.data, file.id, mode, request, fault, self._elsewhere)
        elif fault and fault.kind == "nobytes":
            exchange.answer(_file_view(file) | {"bytes": None})
        else:
            exchange.answer(_file_view(file) | {"expires_at": self.files_expire_at}, fault, self._elsewhere)


def _file_view(file: StoredFile) -> dict[str, Any]:
    size = len(file.data) if file.recorded is None else file.recorded
    facts = {"id": file.id, "object": "file", "bytes": size, "created_at": int(time.time())}
    return facts | {
        "filename": renamed(file.name, file.plan.words("shape")),
        "purpose": file.purpose,
        "status": "processed",
    }


def _form(request: Request) -> tuple[str, str, bytes]:
    """Return the file name, the purpose and the content of an upload."""
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
    """Run a server during a test."""
    server = FaultServer()
    try:
        yield server
    finally:
        server.stop()
