"""Read a result line as one flat row: the answer, why it ended, its tokens, or its error."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

import msgspec

from ._results import ResultLine, judge, read_line, text_of

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
"""What each row says of its result. `status` is success, error or missing."""

MISSING_ROW = (None, None, None, None, None, "missing", None, "no result")
"""What is said of a request that has no result at all."""


def flat(line: bytes) -> tuple[str, tuple[Any, ...]]:
    """Return the custom id of a checked result line, and its values for RESULT_COLUMNS."""
    result = read_line(line)
    body = result.response.body if result.response is not None else None
    if isinstance(body, str):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.MsgspecError, RecursionError):
            body = {}
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    usage = _dict(told.get("usage"))
    tokens = (
        _first(usage, "prompt_tokens", "input_tokens"),
        _first(usage, "completion_tokens", "output_tokens"),
    )
    success, cause = judge(result.response, result.error)
    end: tuple[Any, ...]
    if success:
        end = (_answer(body), _finish_reason(told), told.get("model"), *tokens, "success", None, None)
    else:
        code, message = _error(result, told)
        end = (None, _finish_reason(told), told.get("model"), *tokens, "error", code, message or cause)
    return result.custom_id, end


def _answer(body: Any) -> Any:
    """Return the answer of a success: a text, a vector, or a list of them where several were asked for."""
    told = _dict(body)
    choices = told.get("choices")
    if isinstance(choices, list) and len(choices) > 1:
        return [text_of({"choices": [choice]}) for choice in choices]
    data = told.get("data")
    if isinstance(data, list) and data and all(isinstance(item, dict) and "embedding" in item for item in data):
        vectors = [_vector(item["embedding"]) for item in data]
        return vectors[0] if len(vectors) == 1 else vectors
    return text_of(body)


def _vector(value: Any) -> Any:
    """Return a vector as numbers: some requests ask for the bytes of 32-bit numbers, in base64."""
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
    """Return the code and the message of an error, wherever they are said; the HTTP status is a code as well."""
    code = message = None
    for said in (result.error, body.get("error")):
        told = _dict(said) or {"message": said}
        code, message = code or told.get("code"), message or told.get("message")
    status = result.response.status_code if result.response is not None else None
    return code or status, message


def _first(values: dict[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
