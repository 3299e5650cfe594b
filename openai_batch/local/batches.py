"""Create a batch: the request is checked at once, the lines of its file in the background."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

import msgspec

from openai_batch.errors import Problem
from openai_batch.requests.check import check_stream
from openai_batch.requests.limits import Limits

from .api_objects import Refused
from .store import BatchRecord, RowRecord
from .targets import known
from .uploads import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from openai_batch.requests.check_report import Row

    from .settings import LocalSettings
    from .store import Store

ENGINE_ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
"""Endpoints of the embedded engine."""

UPSTREAM_ENDPOINTS = (
    *ENGINE_ENDPOINTS,
    "/v1/moderations",
    "/v1/score",
    "/v1/rerank",
    "/v1/images/generations",
)
"""Endpoints with JSON in both directions that an upstream may have; asking it shows whether it does."""

_MAX_WINDOW = 14 * 86_400  # the longest completion window in seconds

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_PROBLEMS = 100
_ROWS_AT_ONCE = 2000

_Key = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Value = Annotated[str, msgspec.Meta(max_length=512)]


class Expiry(msgspec.Struct):
    """How long a file is kept."""

    seconds: Annotated[int, msgspec.Meta(ge=3600, le=30 * 86_400)]  # seconds after the file's creation
    anchor: str = "created_at"  # from when they count; nothing else is known


class CreateBatch(msgspec.Struct):
    """The body of a request that creates a batch."""

    input_file_id: str  # the uploaded file with the requests
    endpoint: str  # the endpoint of all its requests
    completion_window: str  # the time limit, such as 24h
    # The client's own pairs, shown with the batch.
    metadata: Annotated[dict[_Key, _Value], msgspec.Meta(max_length=16)] | None = None
    output_expires_after: Expiry | None = None  # how long the result files are kept


def new_batch(request: CreateBatch, store: Store, settings: LocalSettings) -> BatchRecord:
    """Return the record of a new batch, not stored yet. Raises Refused if the request cannot be accepted."""
    endpoints = UPSTREAM_ENDPOINTS if settings.upstream else ENGINE_ENDPOINTS
    if request.endpoint not in endpoints:
        raise Refused(
            400,
            f"batches for {request.endpoint} are not supported; these are: {', '.join(endpoints)}",
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
        least = f"{shortest / 3600:g}h" if shortest >= 3600 else f"{shortest:g}s"  # noqa: PLR2004 - an hour
        message = f"the completion_window must be {least} to 14d, like 24h"
        raise Refused(400, message, code="invalid_value", param="completion_window")
    return seconds


class Interrupted(Exception):  # noqa: N818 - a request to stop, not an error
    """The check was asked to stop."""


def validate(
    store: Store,
    batch: BatchRecord,
    path: Path,
    settings: LocalSettings,
    models: Sequence[str] | None,
    stopped: Callable[[], bool],
) -> None:
    """Check every line of the batch's file and store its rows; move the batch to `in_progress` or to `failed`.

    `models` are the names that the upstream knows, None if it does not list them. May be repeated after a crash.
    Raises Interrupted soon after `stopped()` turns true.
    """
    store.drop_rows(batch.seq)
    rows = _RowWriter(store, batch.seq, models, stopped)
    limits = Limits(
        max_requests=settings.max_requests,
        max_bytes=settings.max_bytes,
        max_line_bytes=settings.max_line_bytes,
        one_model=False,
    )
    with path.open("rb") as stream:
        report = check_stream(
            stream,
            limits,
            endpoint=batch.endpoint,
            on_row=rows.add,
            max_problems=_MAX_PROBLEMS,
            longest=settings.max_line_bytes,  # a client has set its own OBATCH_MAX_LINE_BYTES
        )
    rows.flush()
    problems = sorted([*report.errors, *rows.problems], key=lambda problem: (problem.line is None, problem.line or 0))
    now = time.time()
    if problems:
        store.drop_rows(batch.seq)
        store.move(batch.id, ["validating"], "failed", failed_at=now, errors=_errors(problems[:_MAX_PROBLEMS]))
    elif not store.move(
        batch.id, ["validating"], "in_progress", in_progress_at=now, total=report.requests, model=report.model
    ):
        store.drop_rows(batch.seq)  # it was cancelled in the meantime


class _RowWriter:
    """Stores the rows of one batch in groups, except those with a model that the upstream does not know."""

    def __init__(self, store: Store, batch: int, models: Sequence[str] | None, stopped: Callable[[], bool]) -> None:
        self.problems: list[Problem] = []
        self._store = store
        self._batch = batch
        self._models = models
        self._stopped = stopped
        self._waiting: list[RowRecord] = []

    def add(self, row: Row) -> None:
        """Take one row that is good on its own. Raises Interrupted."""
        if self._models is not None and row.model is not None and not known(row.model, self._models):
            if len(self.problems) < _MAX_PROBLEMS:
                self.problems.append(_unknown(row, self._models))
            return
        self._waiting.append(RowRecord(row.line, row.offset, row.length, row.custom_id))
        if len(self._waiting) >= _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Store the rows that were added since the last time. Raises Interrupted."""
        if self._stopped():
            raise Interrupted
        self._store.add_rows(self._batch, self._waiting)
        self._waiting.clear()


def fault(code: str, message: str) -> str:
    """Return an error of a whole batch as the JSON text that is stored."""
    return _errors([Problem(None, code, message)])


def _errors(problems: Sequence[Problem]) -> str:
    data = [{"code": p.code, "line": p.line, "message": _message(p), "param": p.param} for p in problems]
    return msgspec.json.encode({"object": "list", "data": data}).decode()


def _message(problem: Problem) -> str:
    return f"{problem.message}: {problem.remedy}" if problem.remedy else problem.message


def _unknown(row: Row, models: Sequence[str]) -> Problem:
    known = ", ".join(models[:5]) + (", ..." if len(models) > 5 else "")  # noqa: PLR2004 - enough to see
    remedy = f"there is {known}" if models else "the upstream has no model loaded"
    return Problem(row.line, "model_not_found", f"there is no model {row.model!r}", "body.model", remedy)
