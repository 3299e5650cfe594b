"""Read result lines and tell successes from errors."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec


class Response(msgspec.Struct):
    """The fields of a result line's response that are read here."""

    status_code: Any = None
    """The HTTP status."""
    body: Any = None
    """The body; some servers write it as a string of JSON."""


class ResultLine(msgspec.Struct):
    """A line of a provider's output or error file."""

    custom_id: str
    """The id of the request."""
    response: Response | None = None
    """The response to the request, or None."""
    error: Any = None
    """The error, if there is one: an object, or text."""


class _Request(msgspec.Struct):
    custom_id: str  # the id of the request
    body: Any = None  # its parameters


class _Id(msgspec.Struct):
    custom_id: str  # the id of the request


_decode = msgspec.json.Decoder(ResultLine).decode
_id_of = msgspec.json.Decoder(_Id).decode


class Outcome(NamedTuple):
    """A result line, read and judged."""

    custom_id: str  # the id of the request
    success: bool  # whether the request succeeded
    cause: str  # why it failed, in a few words; empty for a success
    status: Any  # the HTTP status
    body: Any  # the body of the response, decoded; the text itself if it is a string that is not JSON
    error: Any  # the `error` of the line


def judge(response: Response | None, error: Any) -> tuple[bool, str, Any]:
    """Decide whether a result is a success. Return (success, why it failed in a few words, the decoded body).

    A success has no error, a 2xx status, and a body without an error of its own. Some servers send the body as a
    string of JSON.
    """
    body, readable = response.body if response is not None else None, True
    if isinstance(body, str):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.MsgspecError, RecursionError):
            readable = False
    if error:
        details: dict[str, Any] = error if isinstance(error, dict) else {"message": error}
        return False, _cause(details.get("code"), details.get("message")), body
    if response is None:
        return False, "no response", None
    status = response.status_code
    accepted = isinstance(status, int) and 200 <= status < 300  # noqa: PLR2004 - HTTP's own numbers
    if not readable:
        return False, "the body is not JSON" if accepted else _cause(status, body), body
    inner = body.get("error") if isinstance(body, dict) else None
    if inner or not accepted:
        details = inner if isinstance(inner, dict) else {"message": inner}
        return False, _cause(status, details.get("message") or details.get("code")), body
    return True, "", body


def read_line(line: bytes) -> ResultLine:
    """Parse a result line. Raises MsgspecError, UnicodeDecodeError or RecursionError if it is not one.

    A body may have a number that msgspec cannot represent. The result was paid for, so the slower parser of Python
    reads it then.
    """
    try:
        return _decode(line)
    except msgspec.ValidationError:
        return msgspec.convert(json.loads(line), ResultLine)


def read_outcome(line: bytes) -> Outcome:
    """Parse a result line once and judge it. Raises what `read_line` raises."""
    result = read_line(line)
    success, cause, body = judge(result.response, result.error)
    status = result.response.status_code if result.response is not None else None
    return Outcome(result.custom_id, success, cause, status, body, result.error)


def failure_cause(line: bytes) -> str:
    """Return why a result is not a success, in a few words; an empty string for a success."""
    result = read_line(line)
    return judge(result.response, result.error)[1]


def with_id(line: bytes, custom_id: str) -> bytes:
    """Return a result line with this `custom_id`; the line itself, unchanged, if it has that id already."""
    if _id_of(line).custom_id == custom_id:
        return line
    values = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    values["custom_id"] = msgspec.Raw(msgspec.json.encode(custom_id))
    return msgspec.json.encode(values) + b"\n"


def answer_text(line: bytes) -> tuple[str, bool, str]:
    """Return (custom_id, success, text) of a result line. The text is the answer, or why the request failed."""
    outcome = read_outcome(line)
    return outcome.custom_id, outcome.success, text_of(outcome.body) if outcome.success else outcome.cause


def prompt_text(line: bytes) -> tuple[str, str]:
    """Return (custom_id, prompt) of a request line. The prompt is the last message, the input, or the like."""
    request = msgspec.json.decode(line, type=_Request)
    body = request.body if isinstance(request.body, dict) else {}
    messages = body.get("messages")
    source = messages[-1] if isinstance(messages, list) and messages else body
    if not isinstance(source, dict):
        return request.custom_id, ""
    text = next((source[key] for key in ("content", "input", "prompt", "text_2", "query") if source.get(key)), "")
    return request.custom_id, text if isinstance(text, str) else msgspec.json.encode(text).decode()


def text_of(body: Any) -> str:
    """Return the answer in the body of a success as text; JSON if the answer is not text."""
    if not isinstance(body, dict):
        return str(body)
    choices = body.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        message = choices[0].get("message")
        text = message.get("content") if isinstance(message, dict) else choices[0].get("text")
        return text if isinstance(text, str) else msgspec.json.encode(message).decode()
    output = body.get("output")
    if isinstance(output, list):
        parts = [c for item in output if isinstance(item, dict) for c in item.get("content") or []]
        return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
    data = body.get("data")
    if isinstance(data, list) and data and isinstance(data[0], dict) and "embedding" in data[0]:
        vector = data[0]["embedding"]
        return f"[{len(vector)} numbers]" if isinstance(vector, list) else "[a vector]"
    return msgspec.json.encode(body).decode()


def _cause(code: Any, message: Any) -> str:
    text = " ".join(str(message).split())[:200] if message else ""
    return f"{code}: {text}" if code and text else str(code or text or "unknown error")
