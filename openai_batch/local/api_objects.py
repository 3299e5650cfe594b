"""The JSON of the API: errors, lists, files and batches, as OpenAI has them; and the body of a request."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.requests import Request

    from .store import BatchRecord, FileRecord

_Parameters = TypeVar("_Parameters", bound=msgspec.Struct)

STALL_SECONDS = 120
_PACE_BYTES = 64 * 1024
"""The longest wait for this many bytes of a request's body, or for its end."""


class Refused(Exception):  # noqa: N818 - a response, not a defect
    """The request gets an error response: an HTTP status, a message, a code, and the parameter that is wrong."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param

    def response(self) -> Response:
        """Return the response, in OpenAI's form."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"  # noqa: PLR2004 - HTTP's classes
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return json_response({"error": error}, self.status)


async def read_body(request: Request) -> AsyncIterator[bytes]:
    """Yield the body of a request as it arrives. Raises Refused if it arrives too slowly, or the connection breaks."""
    stream = aiter(request.stream())
    deadline, arrived = time.monotonic() + STALL_SECONDS, 0
    while True:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refused(408, "the rest of the request did not arrive", code="request_timeout") from None
        except ClientDisconnect:
            raise Refused(400, "the request was cut off", code="incomplete_upload") from None
        yield piece
        arrived += len(piece)
        if arrived >= _PACE_BYTES:
            deadline, arrived = time.monotonic() + STALL_SECONDS, 0


def whole_number(text: str, smallest: int, largest: int, param: str) -> int:
    """Return `text` as a number. Raises Refused if it is not a number, or out of range."""
    if not re.fullmatch("[0-9]{1,18}", text) or not smallest <= int(text) <= largest:
        raise Refused(400, f"{param} must be {smallest:,} to {largest:,}", code="invalid_value", param=param)
    return int(text)


def parse_json(body: bytes, decode: Callable[[bytes], _Parameters]) -> _Parameters:
    """Read the body of a request with a decoder of msgspec; raises Refused naming the parameter at fault."""
    try:
        return decode(body)
    except msgspec.ValidationError as exc:
        place = re.search(r"`\$\.?([^`]*)`|required field `([^`]*)`", str(exc))
        param = next((name for name in place.groups() if name), None) if place else None
        code = "missing_required_parameter" if "required" in str(exc) else "invalid_value"
        raise Refused(400, str(exc), code=code, param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, "the body is not valid JSON", code="invalid_json") from None


def json_response(content: Any, status: int = 200) -> Response:
    """Return `content` as a JSON response."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def list_object(items: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Return one page of a list; `has_more` says whether another one follows."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }


def file_object(record: FileRecord) -> dict[str, Any]:
    """Return a file as the API shows it."""
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.bytes,
        "created_at": int(record.created_at),
        "expires_at": _seconds(record.expires_at),
        "filename": record.filename,
        "purpose": record.purpose,
        "status": "processed",
        "status_details": None,
    }


def model_object(name: str) -> dict[str, Any]:
    """Return a model as the API shows it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "local"}


def batch_object(record: BatchRecord) -> dict[str, Any]:
    """Return a batch as the API shows it."""
    return {
        "id": record.id,
        "object": "batch",
        "endpoint": record.endpoint,
        "model": record.model,
        "errors": msgspec.json.decode(record.errors) if record.errors else None,
        "input_file_id": record.input_file_id,
        "completion_window": record.completion_window,
        "status": record.status,
        "output_file_id": record.output_file_id,
        "error_file_id": record.error_file_id,
        "created_at": int(record.created_at),
        "in_progress_at": _seconds(record.in_progress_at),
        "expires_at": int(record.expires_at),
        "finalizing_at": _seconds(record.finalizing_at),
        "completed_at": _seconds(record.completed_at),
        "failed_at": _seconds(record.failed_at),
        "expired_at": _seconds(record.expired_at),
        "cancelling_at": _seconds(record.cancelling_at),
        "cancelled_at": _seconds(record.cancelled_at),
        "request_counts": {"total": record.total, "completed": record.completed, "failed": record.failed},
        "usage": {
            "input_tokens": record.input_tokens,
            "input_tokens_details": {"cached_tokens": record.cached_tokens},
            "output_tokens": record.output_tokens,
            "output_tokens_details": {"reasoning_tokens": record.reasoning_tokens},
            "total_tokens": record.total_tokens,
        },
        "metadata": msgspec.json.decode(record.metadata) if record.metadata else None,
    }


def _seconds(time: float | None) -> int | None:
    return None if time is None else int(time)
