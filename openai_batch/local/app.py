"""The HTTP routes: files, batches, models, and the endpoints that are passed on to the upstream."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from openai_batch.errors import BatchError

from . import api_objects, batches
from .api_objects import Refused, parse_json
from .chunked_uploads import CompleteUpload, CreateUpload
from .partial_results import finished_lines
from .targets import CallError
from .uploads import receive_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from starlette.requests import Request

    from .chunked_uploads import ChunkedUploads
    from .executor import Executor
    from .settings import LocalSettings
    from .store import BatchRecord, Store
    from .upstream import Upstream

_MAX_JSON = 1 << 20
_MAX_FORWARDED = 64 << 20
"""The most bytes in the body of a request to this server, and of one for the upstream."""

_MAX_PAGE = {"files": 10_000, "batches": 100}
_DEFAULT_PAGE = {"files": 10_000, "batches": 20}
"""Objects on one page of a list, as OpenAI has them."""

_FORWARDED = (
    *batches.UPSTREAM_ENDPOINTS,
    "/v1/images/edits",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
)
_KEPT_HEADERS = ("content-type", "x-request-id", "retry-after", "retry-after-ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The handlers and what they need."""

    store: Store
    executor: Executor
    upstream: Upstream
    settings: LocalSettings
    # The folders of files and of journals.
    files: Path
    journals: Path
    uploads: ChunkedUploads
    condition: Callable[[], str]  # returns `ok`, or why the server cannot work
    identity: Mapping[str, Any]  # what `GET /health` says about this server

    def routes(self) -> list[Route]:
        """Return the table of routes."""
        table: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("GET", "/health", self.health),
            ("POST", "/v1/files", self.upload),
            ("GET", "/v1/files", self.list_files),
            ("GET", "/v1/files/{id}", self.get_file),
            ("GET", "/v1/files/{id}/content", self.file_content),
            ("DELETE", "/v1/files/{id}", self.delete_file),
            ("POST", "/v1/uploads", self.create_upload),
            ("POST", "/v1/uploads/{id}/parts", self.add_part),
            ("POST", "/v1/uploads/{id}/complete", self.complete_upload),
            ("POST", "/v1/uploads/{id}/cancel", self.cancel_upload),
            ("POST", "/v1/batches", self.create_batch),
            ("GET", "/v1/batches", self.list_batches),
            ("GET", "/v1/batches/{id}", self.get_batch),
            ("POST", "/v1/batches/{id}/cancel", self.cancel_batch),
            ("GET", "/v1/models", self.list_models),
            ("GET", "/v1/models/{id:path}", self.get_model),
            *(("POST", path, self.forward) for path in _FORWARDED),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def health(self, _request: Request) -> Response:
        """Return the name of this server and whether it works; 503 while it cannot take requests."""
        condition = self.condition()
        work = {"active": self.executor.active, "away": self.upstream.away}
        content = {**self.identity, "status": condition, **work, "pid": os.getpid()}
        return api_objects.json_response(content, 200 if condition == "ok" else 503)

    async def upload(self, request: Request) -> Response:
        """Store an uploaded file."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > 4 * self.settings.max_bytes + _MAX_JSON:
            raise Refused(413, "the upload is too large", code="file_too_large", param="file")
        record = await receive_file(request, self.files, self.settings.max_bytes)
        await asyncio.to_thread(self.store.add_file, record)
        return api_objects.json_response(api_objects.file_object(record))

    def list_files(self, request: Request) -> Response:
        """List files, newest first by default."""
        limit = _limit(request, "files")
        order = request.query_params.get("order", "desc")
        if order not in {"asc", "desc"}:
            raise Refused(400, "order must be asc or desc", code="invalid_value", param="order")
        after = self._after(request, self.store.file)
        found = self.store.files(
            purpose=request.query_params.get("purpose"),
            after=after,
            limit=limit + 1,
            newest_first=order == "desc",
        )
        return api_objects.json_response(
            api_objects.list_object([api_objects.file_object(f) for f in found[:limit]], has_more=len(found) > limit)
        )

    def get_file(self, request: Request) -> Response:
        """Describe one file."""
        return api_objects.json_response(api_objects.file_object(_found(self.store.file, request, "file")))

    def file_content(self, request: Request) -> Response:
        """Return a file's bytes, or the requested range of them; of a batch, the result lines that it has so far."""
        batch = self.store.batch(request.path_params["id"])
        if batch is not None:
            lines = finished_lines(self.store, batch, self.files, self.journals / batch.id)
            return StreamingResponse(lines, media_type="application/jsonl")
        record = _found(self.store.file, request, "file")
        path = self.files / record.id
        if not path.exists():
            raise Refused(404, f"the content of {record.id} is gone", code="not_found")
        return FileResponse(path, media_type="application/jsonl", headers={"etag": f'"{record.sha256}"'})

    def delete_file(self, request: Request) -> Response:
        """Delete a file, unless an unfinished batch reads it."""
        record = _found(self.store.file, request, "file")
        if users := self.store.users_of(record.id):
            raise Refused(409, f"{record.id} is in use by {users[0]}", code="file_in_use")
        self.store.delete_file(record.id)
        (self.files / record.id).unlink(missing_ok=True)
        return api_objects.json_response({"id": record.id, "object": "file", "deleted": True})

    async def create_upload(self, request: Request) -> Response:
        """Begin an upload in parts."""
        asked = parse_json(await _body(request, _MAX_JSON), _decode_create_upload)
        return api_objects.json_response(await asyncio.to_thread(self.uploads.create, asked))

    async def add_part(self, request: Request) -> Response:
        """Store a part of an upload."""
        return api_objects.json_response(await self.uploads.add_part(request.path_params["id"], request))

    async def complete_upload(self, request: Request) -> Response:
        """Make a file of the parts of an upload."""
        asked = parse_json(await _body(request, _MAX_JSON), _decode_complete_upload)
        return api_objects.json_response(
            await asyncio.to_thread(self.uploads.complete, request.path_params["id"], asked)
        )

    def cancel_upload(self, request: Request) -> Response:
        """Give an upload up."""
        return api_objects.json_response(self.uploads.cancel(request.path_params["id"]))

    async def create_batch(self, request: Request) -> Response:
        """Create a batch; the same Idempotency-Key again gives the same batch."""
        body = await _body(request, _MAX_JSON)
        record = await asyncio.to_thread(
            self._create,
            parse_json(body, _decode_create_batch),
            sha256(body).hexdigest(),
            request.headers.get("idempotency-key"),
        )
        if isinstance(record, str):
            return Response(record, media_type="application/json")
        self.executor.adopt(record.id)
        return api_objects.json_response(api_objects.batch_object(record))

    def _create(self, request: batches.CreateBatch, digest: str, key: str | None) -> BatchRecord | str:
        """Store a new batch and return it, or return the JSON that its idempotency key got before."""
        if key is None:
            record = batches.new_batch(request, self.store, self.settings)
            self.store.add_batch(record)
            return record
        if not 1 <= len(key) <= 255:  # noqa: PLR2004 - said in the message
            raise Refused(400, "the Idempotency-Key must have 1 to 255 characters", code="invalid_value")
        earlier = self.store.created_by(key)
        if earlier is None:
            record = batches.new_batch(request, self.store, self.settings)
            text = msgspec.json.encode(api_objects.batch_object(record)).decode()
            earlier = self.store.add_batch_once(record, key, digest, text)
            if earlier == (digest, text):
                return record
        if earlier[0] != digest:
            raise Refused(409, "this Idempotency-Key was used for another request", code="idempotency_key_reused")
        return earlier[1]

    def list_batches(self, request: Request) -> Response:
        """List batches, newest first."""
        limit = _limit(request, "batches")
        after = self._after(request, self.store.batch)
        found = self.store.batches(after=after, limit=limit + 1)
        return api_objects.json_response(
            api_objects.list_object([self._shown(b) for b in found[:limit]], has_more=len(found) > limit)
        )

    def get_batch(self, request: Request) -> Response:
        """Describe one batch."""
        return api_objects.json_response(self._shown(_found(self.store.batch, request, "batch")))

    def _shown(self, record: BatchRecord) -> dict[str, Any]:
        """Return a batch as the API shows it; if it makes no progress, `errors` says why."""
        waiting = self.executor.waiting_tasks(record.id)
        if record.status == "in_progress" and (trouble := self.upstream.trouble(waiting)) is not None:
            record = replace(record, errors=batches.fault("upstream_unavailable", trouble))
        return api_objects.batch_object(record)

    async def cancel_batch(self, request: Request) -> Response:
        """Cancel a batch that has not ended."""
        record = await asyncio.to_thread(_found, self.store.batch, request, "batch")
        if not await self.executor.cancel(record.id):
            record = await asyncio.to_thread(_found, self.store.batch, request, "batch")
            if record.status not in {"cancelling", "cancelled"}:
                raise Refused(409, f"the batch is {record.status} already", code="batch_ended")
        return await asyncio.to_thread(self.get_batch, request)

    async def list_models(self, _request: Request) -> Response:
        """List the models that the upstream knows."""
        data = [api_objects.model_object(name) for name in await self._models()]
        return api_objects.json_response({"object": "list", "data": data})

    async def get_model(self, request: Request) -> Response:
        """Describe one model that the upstream knows."""
        name = request.path_params["id"]
        if name not in await self._models():
            raise Refused(404, f"there is no model {name!r}", code="model_not_found", param="id")
        return api_objects.json_response(api_objects.model_object(name))

    async def _models(self) -> list[str]:
        names = await self.upstream.models()
        if names is None:
            raise Refused(502, "the upstream does not list its models", code="upstream_error")
        return names

    async def forward(self, request: Request) -> Response:
        """Pass a request to the upstream, and its response back as it arrives."""
        path = request.url.path
        if not self.settings.upstream and path not in batches.ENGINE_ENDPOINTS:
            raise Refused(400, f"the embedded engine does not support {path}", code="unsupported_endpoint")
        body = await _body(request, _MAX_FORWARDED)
        if not self.settings.upstream:
            await self._check_model(body)
        context = self.upstream.forward(
            "POST",
            path,
            body,
            request.headers.get("content-type", "application/json"),
            seconds=self.settings.timeout_seconds,
        )
        try:
            reply = await context.__aenter__()
        except CallError as exc:
            status = 504 if exc.code == "timeout" else 502
            raise Refused(status, str(exc), code=exc.code) from None
        headers = {name: reply.headers[name] for name in _KEPT_HEADERS if name in reply.headers}
        return StreamingResponse(_relay(context, reply.content.iter_any()), reply.status, headers)

    async def _check_model(self, body: bytes) -> None:
        """Refuse a model that the engine does not have: the engine itself takes any name."""
        try:
            model = _decode_asked(body).model
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Refused(400, "the body must be a JSON object that names a model", code="invalid_json") from None
        names = await self.upstream.models() or []
        if model not in names:
            raise Refused(
                404, f"there is no model {model!r}; there is {names[0]}", code="model_not_found", param="model"
            )

    def _after(self, request: Request, look: Callable[[str], Any]) -> int | None:
        given = request.query_params.get("after")
        if not given:
            return None
        record = look(given)
        if record is None:
            raise Refused(404, f"there is no {given} to continue after", code="not_found", param="after")
        return int(record.seq)


class _Asked(msgspec.Struct):
    model: str


_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_create_batch = msgspec.json.Decoder(batches.CreateBatch).decode
_decode_create_upload = msgspec.json.Decoder(CreateUpload).decode
_decode_complete_upload = msgspec.json.Decoder(CompleteUpload).decode


async def _relay(context: AbstractAsyncContextManager[Any], pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    finally:
        with contextlib.suppress(CallError):
            await context.__aexit__(None, None, None)


def build_app(routes: Routes) -> Starlette:
    """Return the ASGI application; all its error responses have OpenAI's form."""
    return Starlette(
        routes=routes.routes(),
        exception_handlers={
            Refused: lambda _request, exc: exc.response(),
            500: lambda _request, _exc: Refused(
                500, "the server has an internal error", code="internal_error"
            ).response(),
            404: lambda _request, _exc: Refused(404, "there is no such URL", code="not_found").response(),
            405: lambda _request, _exc: Refused(
                405, "this method is not allowed", code="method_not_allowed"
            ).response(),
            BatchError: lambda _request, exc: Refused(503, str(exc), code="store_unavailable").response(),
        },
    )


async def _body(request: Request, limit: int) -> bytes:
    pieces = bytearray()
    async for chunk in api_objects.read_body(request):
        pieces += chunk
        if len(pieces) > limit:
            raise Refused(413, f"the body has over {limit:,} bytes", code="request_too_large")
    return bytes(pieces)


def _found(look: Callable[[str], Any], request: Request, kind: str) -> Any:
    name = request.path_params["id"]
    record = look(name)
    if record is None:
        raise Refused(404, f"there is no {kind} {name}", code="not_found", param="id")
    return record


def _limit(request: Request, kind: str) -> int:
    text = request.query_params.get("limit")
    if text is None:
        return _DEFAULT_PAGE[kind]
    return api_objects.whole_number(text, 1, _MAX_PAGE[kind], "limit")
