"""Turn a result line into one flat row: the answer, why it ended, its tokens, or its error."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

from .result_line import ResultLine, judge, read_line, text_of

RESULT_COLUMNS = (
    "answer",
    "finish_reason",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "status",
    "error_code",
    "error_message",
)
"""The columns of a result. `status` is success, error or missing."""

MISSING_ROW = (None, None, None, None, None, "missing", None, "no result")
"""The columns of a request without any result."""


def flat(line: bytes) -> tuple[str, tuple[Any, ...]]:
    """Return the custom id of a checked result line, and its values for RESULT_COLUMNS."""
    result = read_line(line)
    success, cause, decoded = judge(result.response, result.error)
    body = _dict(decoded)
    usage = _dict(body.get("usage"))
    answer = code = message = None
    if success:
        answer = _answer(decoded)
    else:
        code, message = _error(result, body)
    return result.custom_id, (
        answer,
        _finish_reason(body),
        body.get("model"),
        _first(usage, "prompt_tokens", "input_tokens"),
        _first(usage, "completion_tokens", "output_tokens"),
        "success" if success else "error",
        code,
        None if success else message or cause,
    )


def _answer(body: Any) -> Any:
    """Return the answer of a success: a text or a vector, or a list of them if there are several."""
    fields = _dict(body)
    choices = fields.get("choices")
    if isinstance(choices, list) and len(choices) > 1:
        return [text_of({"choices": [choice]}) for choice in choices]
    data = fields.get("data")
    if isinstance(data, list) and data and all(isinstance(item, dict) and "embedding" in item for item in data):
        vectors = [_vector(item["embedding"]) for item in data]
        return vectors[0] if len(vectors) == 1 else vectors
    return text_of(body)


def _vector(value: Any) -> Any:
    """Return a vector as a list of numbers. Some answers have it in base64: the bytes of 32-bit numbers."""
    if not isinstance(value, str):
        return value
    try:
        numbers = array("f", base64.b64decode(value, validate=True))
    except ValueError:
        return value
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _finish_reason(body: dict[str, Any]) -> Any:
    choices = body.get("choices")
    if isinstance(choices, list) and choices:
        return _dict(choices[0]).get("finish_reason")
    return _dict(body.get("incomplete_details")).get("reason") or (body.get("status") if "output" in body else None)


def _error(result: ResultLine, body: dict[str, Any]) -> tuple[Any, Any]:
    """Return the code and the message of an error. Without a code, the HTTP status is the code."""
    code = message = None
    for error in (result.error, body.get("error")):
        details = _dict(error) or {"message": error}
        code, message = code or details.get("code"), message or details.get("message")
    return code or (result.response.status_code if result.response is not None else None), message


def _first(values: dict[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
