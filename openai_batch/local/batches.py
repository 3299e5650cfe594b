"""Create a batch: judge the request at once, and the file's lines in the background."""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, Annotated

import msgspec

from openai_batch._check import Limits, Problem, Row, check_stream

from .api_objects import Refused
from .store import BatchRecord, RowRecord
from .uploads import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .settings import LocalSettings
    from .store import Store

ENGINE_ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
"""What the embedded engine can answer."""

UPSTREAM_ENDPOINTS = (
    *ENGINE_ENDPOINTS,
    "/v1/moderations",
    "/v1/score",
    "/v1/rerank",
    "/v1/images/generations",
    "/v1/audio/speech",
)
"""What may be asked of an upstream by JSON; it knows itself what it can answer."""

_MAX_WINDOW = 14 * 86_400
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_PROBLEMS = 100
_ROWS_AT_ONCE = 2000

_Key = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Value = Annotated[str, msgspec.Meta(max_length=512)]


class _Expiry(msgspec.Struct):
    seconds: Annotated[int, msgspec.Meta(ge=3600, le=30 * 86_400)]
    anchor: str = "created_at"


class CreateBatch(msgspec.Struct):
    """The body of a create request."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Annotated[dict[_Key, _Value], msgspec.Meta(max_length=16)] | None = None
    output_expires_after: _Expiry | None = None


def parse(body: bytes) -> CreateBatch:
    """Read a create request; raises Refused naming the parameter at fault."""
    try:
        return msgspec.json.decode(body, type=CreateBatch)
    except msgspec.ValidationError as exc:
        place = re.search(r"`\$\.?([^`]*)`|required field `([^`]*)`", str(exc))
        param = next((name for name in place.groups() if name), None) if place else None
        code = "missing_required_parameter" if "required" in str(exc) else "invalid_value"
        raise Refused(400, str(exc), code=code, param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, "the body is not valid JSON", code="invalid_json") from None


def digest(body: bytes) -> str:
    """Return what identifies a create request's content for its idempotency key."""
    return hashlib.sha256(body).hexdigest()


def new_batch(request: CreateBatch, store: Store, settings: LocalSettings) -> BatchRecord:
    """Return the new batch's record, not stored yet; raises Refused where the request cannot be accepted."""
    endpoints = UPSTREAM_ENDPOINTS if settings.upstream else ENGINE_ENDPOINTS
    if request.endpoint not in endpoints:
        raise Refused(
            400,
            f"there are no batches for {request.endpoint}; there are for {', '.join(endpoints)}",
            code="invalid_value",
            param="endpoint",
        )
    seconds = _window(request.completion_window, settings.min_window_seconds)
    file = store.file(request.input_file_id)
    if file is None or file.purpose != "batch":
        raise Refused(
            400, f"there is no batch input file {request.input_file_id}", code="not_found", param="input_file_id"
        )
    now = time.time()
    return BatchRecord(
        id=new_id("batch_"),
        endpoint=request.endpoint,
        input_file_id=file.id,
        completion_window=request.completion_window,
        status="validating",
        created_at=now,
        expires_at=now + seconds,
        output_seconds=request.output_expires_after.seconds if request.output_expires_after else None,
        metadata=msgspec.json.encode(request.metadata).decode() if request.metadata is not None else None,
    )


def _window(text: str, shortest: float) -> float:
    match = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]] if match else 0
    if not match or not shortest <= seconds <= _MAX_WINDOW:
        raise Refused(
            400, "the completion_window must be 1h to 14d, like 24h", code="invalid_value", param="completion_window"
        )
    return seconds


class Interrupted(Exception):  # noqa: N818 - a request to stop, not a fault
    """The validation was asked to stop."""


def validate(
    store: Store,
    batch: BatchRecord,
    path: Path,
    settings: LocalSettings,
    models: Sequence[str] | None,
    stopped: Callable[[], bool],
) -> None:
    """Check every line of the batch's file, and move the batch to `in_progress` or to `failed`.

    Its requests are recorded on the way. `models` are the names that the upstream knows, None if it does not say.
    Raises Interrupted soon after `stopped()` turns true. May be repeated after a crash.
    """
    store.drop_rows(batch.seq)
    waiting: list[RowRecord] = []
    unknown: list[Problem] = []

    def take(row: Row) -> None:
        if models is not None and row.model is not None and not _known(row.model, models):
            if len(unknown) < _MAX_PROBLEMS:
                unknown.append(_unknown(row, models))
            return
        waiting.append(RowRecord(row.line, row.offset, row.length, row.custom_id))
        if len(waiting) >= _ROWS_AT_ONCE:
            if stopped():
                raise Interrupted
            store.add_rows(batch.seq, waiting)
            waiting.clear()

    limits = Limits(
        max_requests=settings.max_requests,
        max_bytes=settings.max_bytes,
        max_line_bytes=settings.max_line_bytes,
        one_model=False,
    )
    with path.open("rb") as stream:
        report = check_stream(stream, limits, endpoint=batch.endpoint, on_row=take, max_problems=_MAX_PROBLEMS)
    if stopped():
        raise Interrupted
    now = time.time()
    problems = sorted([*report.errors, *unknown], key=lambda p: (p.line is None, p.line or 0))[:_MAX_PROBLEMS]
    if problems:
        store.drop_rows(batch.seq)
        store.move(batch.id, ["validating"], "failed", failed_at=now, errors=_errors(problems))
    else:
        store.add_rows(batch.seq, waiting)
        moved = store.move(
            batch.id, ["validating"], "in_progress", in_progress_at=now, total=report.requests, model=report.model
        )
        if not moved:  # cancelled meanwhile
            store.drop_rows(batch.seq)


def fault(code: str, message: str) -> str:
    """Return the stored form of one error of a whole batch."""
    return _errors([Problem(None, code, message)])


def _errors(problems: Sequence[Problem]) -> str:
    data = [{"code": p.code, "line": p.line, "message": _message(p), "param": p.param} for p in problems]
    return msgspec.json.encode({"object": "list", "data": data}).decode()


def _message(problem: Problem) -> str:
    return f"{problem.message}: {problem.remedy}" if problem.remedy else problem.message


def _known(model: str, models: Sequence[str]) -> bool:
    # Ollama lists `name:latest` and answers to `name`; a gateway may list `*` for "ask me".
    return model in models or f"{model}:latest" in models or any("*" in name for name in models)


def _unknown(row: Row, models: Sequence[str]) -> Problem:
    known = ", ".join(models[:5]) + (", ..." if len(models) > 5 else "")  # noqa: PLR2004 - enough to see
    remedy = f"there is {known}" if models else "the upstream has no model loaded"
    return Problem(row.line, "model_not_found", f"there is no model {row.model!r}", "body.model", remedy)
