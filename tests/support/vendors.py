"""A fault server that behaves like a vendor, according to the vendor's documentation.

    with vendor_server("together") as server:
        ...  # server.base_url has the vendor's path

Requests that the vendor would refuse are refused. `VENDORS` has an entry for each file of `providers/profiles`.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from support.faults import FaultServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.exchange import Exchange, Request

_UPPER = {word: word.upper() for word in ("validating", "in_progress", "completed", "failed", "expired", "cancelled")}
_CHAT = ("/v1/chat/completions",)


@dataclass(frozen=True)
class Vendor:
    """The differences of a vendor.

    `path` is that of its base URL, `key` the header with the key (None: none), `form` the additional fields of an
    upload, `hidden` the keys that a batch does not have, `also` its additional keys. `dates` means that times are
    ISO 8601, `flat` that the counts are in the batch itself, `bare` that a list has no object around it, `wrapped`
    that the answer to a create has the batch in `job`, and `empty_ids` that a missing file has an empty id.
    """

    path: str = "/v1"
    key: str | None = "authorization"
    purpose: str = "batch"
    upload: str = "/files"
    form: tuple[str, ...] = ()
    windows: tuple[str, ...] = ("24h",)
    endpoints: tuple[str, ...] = _CHAT
    words: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    also: dict[str, Any] = field(default_factory=dict)
    takes_metadata: bool = True
    dates: bool = False
    flat: bool = False
    bare: bool = False
    wrapped: bool = False
    empty_ids: bool = False


VENDORS = {
    "azure": Vendor("/openai/v1", key="api-key", also={"endpoint": None}, empty_ids=True),
    "groq": Vendor("/openai/v1"),
    "nebius": Vendor(also={"metadata": {"customer": "example"}}),
    "doubleword": Vendor(windows=("1h", "24h"), also={"completion_window": "Standard (24h)"}),
    "deepinfra": Vendor("/v1/openai"),
    "dashscope": Vendor("/compatible-mode/v1"),
    "cerebras": Vendor(also={"metadata": {"tags": ["a", "b"]}}),
    "together": Vendor(
        purpose="batch-api",
        upload="/files/upload",
        form=("file_name",),
        words=_UPPER | {"finalizing": "IN_PROGRESS", "cancelling": "IN_PROGRESS"},
        hidden=("object", "request_counts", "metadata", "completion_window", "errors", "expires_at"),
        also={"progress": 50.0, "model_id": "some-model", "job_deadline": "2026-12-24T18:00:00Z"},
        takes_metadata=False,
        dates=True,
        bare=True,
        wrapped=True,
    ),
    "novita": Vendor(
        "/openai/v1",
        windows=("48h",),
        words=_UPPER | {"in_progress": "PROGRESS", "finalizing": "FINALIZING", "cancelling": "CANCELLING"},
        hidden=("errors",),
        dates=True,
        flat=True,
    ),
    "zhipu": Vendor("/api/paas/v4", endpoints=("/v4/chat/completions", "/v4/embeddings"), flat=True),
    "siliconflow": Vendor(),
    "moonshot": Vendor(),
    "inference-net": Vendor(),
    "litellm": Vendor(key=None),
    "aibrix": Vendor(key=None),
    "llm-d": Vendor(key=None),
    "ogx": Vendor(key=None),
}


class VendorServer(FaultServer):
    """The server of a vendor; `refusals` are the messages of the requests that it refused."""

    def __init__(self, vendor: Vendor, key: str) -> None:
        super().__init__()
        self.vendor, self.key = vendor, key
        self.refusals: list[str] = []
        self.base_url = f"http://127.0.0.1:{self.port}{vendor.path}"

    def _route(self, exchange: Exchange, request: Request) -> None:
        vendor = self.vendor
        call = f"{request.method} {request.path.removeprefix(vendor.path)}"
        exchange.reshape = lambda data: self._reshaped(call, data)
        if not request.path.startswith(f"{vendor.path}/") or (call == "POST /files" and vendor.upload != "/files"):
            self._refuse(exchange, 404, f"there is nothing at {request.path}")
            return
        if vendor.key and request.headers.get(vendor.key, "").removeprefix("Bearer ") != self.key:
            self._refuse(exchange, 401, f"no key in {vendor.key}")
            return
        if other := {"authorization", "api-key"} & request.headers.keys() - {vendor.key}:
            self._refuse(exchange, 400, f"the key is in {other}")
            return
        path = request.path.removeprefix(vendor.path)
        request.path = "/v1" + ("/files" if path == vendor.upload else path)
        super()._route(exchange, request)

    def _upload(self, exchange: Exchange, request: Request) -> None:
        exchange.receive_body(request)
        form = dict(re.findall(rb'name="(\w+)"\r\n\r\n([^\r]*)\r\n', request.body))
        name = re.search(rb'filename="([^"]*)"', request.body)
        assert name, request.body[:500]
        missing = [key for key in self.vendor.form if form.get(key.encode()) != name[1]]
        urls = {json.loads(line)["url"] for line in request.body.splitlines() if line.startswith(b'{"custom_id"')}
        if form.get(b"purpose", b"").decode() != self.vendor.purpose or not name[1].endswith(b".jsonl") or missing:
            self._refuse(exchange, 400, f"the form is {form}, of a file {name[1]!r}")
        elif not urls <= {*self.vendor.endpoints}:
            self._refuse(exchange, 400, f"there are no batches for {urls}")
        else:
            super()._upload(exchange, request)

    def _create(self, exchange: Exchange, request: Request) -> None:
        body = json.loads(request.body)
        known = {
            "input_file_id",
            "endpoint",
            "completion_window",
            *(["metadata"] if self.vendor.takes_metadata else []),
        }
        if body.keys() - known:
            self._refuse(exchange, 400, f"unknown fields: {body.keys() - known}")
        elif body["completion_window"] not in self.vendor.windows or body["endpoint"] not in self.vendor.endpoints:
            self._refuse(exchange, 400, f"not possible: {body}")
        else:
            super()._create(exchange, request)

    def _refuse(self, exchange: Exchange, status: int, message: str) -> None:
        self.refusals.append(message)
        exchange.refuse(status, message)

    def _reshaped(self, call: str, data: dict[str, Any]) -> Any:
        """Return an answer in the format of the vendor."""
        if call == "GET /batches":
            data["data"] = [self._batch(each) for each in data["data"]]
            return data["data"] if self.vendor.bare else data
        if "/batches" not in call:
            return data
        batch = self._batch(data)
        return {"job": batch, "warning": None} if call == "POST /batches" and self.vendor.wrapped else batch

    def _batch(self, data: Mapping[str, Any]) -> dict[str, Any]:
        vendor = self.vendor
        batch = {key: value for key, value in data.items() if key not in vendor.hidden}
        batch["status"] = vendor.words.get(data["status"], data["status"])
        if faults := (data.get("errors") or {}).get("data"):
            told = faults[0]["message"]
            batch |= {key: told for key in ("error", "errors") if key not in batch}
        if vendor.flat:
            batch |= batch.pop("request_counts")
        if vendor.dates:
            batch |= {key: _iso(value) for key, value in batch.items() if key.endswith("_at") and value}
        if vendor.empty_ids:
            batch |= {key: batch.get(key) or "" for key in ("output_file_id", "error_file_id")}
        return batch | vendor.also


def _iso(value: int) -> str:
    return datetime.fromtimestamp(value, UTC).isoformat()


@contextlib.contextmanager
def vendor_server(name: str, key: str) -> Iterator[VendorServer]:
    """Run the server of a vendor during a test; it requires this key."""
    server = VendorServer(VENDORS[name], key)
    try:
        yield server
    finally:
        server.stop()
