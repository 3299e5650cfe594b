"""Read result lines and tell successes from errors."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec


class Response(msgspec.Struct):
    """The response of a result line, as far as it is read here."""

    status_code: Any = None
    body: Any = None


class ResultLine(msgspec.Struct):
    """A result line of a provider's output or error file."""

    custom_id: str
    response: Response | None = None
    error: Any = None


class _Request(msgspec.Struct):
    custom_id: str
    body: Any = None


class _Id(msgspec.Struct):
    custom_id: str


_decode = msgspec.json.Decoder(ResultLine).decode
_id_of = msgspec.json.Decoder(_Id).decode


class Outcome(NamedTuple):
    """What a result line says of its request."""

    custom_id: str
    success: bool
    cause: str  # why there is no success, in few words; empty for a success
    status: Any  # the HTTP status
    body: Any  # the answer, decoded; the text itself if the server sent a string that is not JSON
    error: Any  # the error beside the answer


def judge(response: Response | None, error: Any) -> tuple[bool, str, Any]:
    """Return whether a result is a success, if not, the cause in few words, and the decoded body.

    A success has no error, a 2xx status, and a body without an error of its own. Some servers send the body as a
    string that holds JSON.
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
        return False, "the body is no JSON" if accepted else _cause(status, body), body
    inner = body.get("error") if isinstance(body, dict) else None
    if inner or not accepted:
        details = inner if isinstance(inner, dict) else {"message": inner}
        return False, _cause(status, details.get("message") or details.get("code")), body
    return True, "", body


def read_line(line: bytes) -> ResultLine:
    """Parse a result line. Raises MsgspecError, UnicodeDecodeError or RecursionError if it is not one.

    A body may hold a number that msgspec cannot represent. The result was paid for, so the slower parser reads it.
    """
    try:
        return _decode(line)
    except msgspec.ValidationError:
        return msgspec.convert(json.loads(line), ResultLine)


def outcome_of(line: bytes) -> Outcome:
    """Parse a result line once and judge it. Raises what `read_line` raises."""
    result = read_line(line)
    success, cause, body = judge(result.response, result.error)
    status = result.response.status_code if result.response is not None else None
    return Outcome(result.custom_id, success, cause, status, body, result.error)


def cause_of(line: bytes) -> str:
    """Return why a result is not a success, in few words; an empty text for a success."""
    result = read_line(line)
    return judge(result.response, result.error)[1]


def with_id(line: bytes, custom_id: str) -> bytes:
    """Return a result line as that of `custom_id`; one that is its own already stays as it is, byte for byte."""
    if _id_of(line).custom_id == custom_id:
        return line
    values = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    values["custom_id"] = msgspec.Raw(msgspec.json.encode(custom_id))
    return msgspec.json.encode(values) + b"\n"


def answer_text(line: bytes) -> tuple[str, bool, str]:
    """Return (custom_id, success, text) of a result line. The text is the answer as a person reads it, or the error."""
    found = outcome_of(line)
    return found.custom_id, found.success, text_of(found.body) if found.success else found.cause


def prompt_text(line: bytes) -> tuple[str, str]:
    """Return (custom_id, what was asked, in short) of a request line: the last message, the input, or the prompt."""
    request = msgspec.json.decode(line, type=_Request)
    body = request.body if isinstance(request.body, dict) else {}
    messages = body.get("messages")
    asked = messages[-1] if isinstance(messages, list) and messages else body
    if not isinstance(asked, dict):
        return request.custom_id, ""
    text = next((asked[key] for key in ("content", "input", "prompt", "text_2", "query") if asked.get(key)), "")
    return request.custom_id, text if isinstance(text, str) else msgspec.json.encode(text).decode()


def text_of(body: Any) -> str:
    """Return what a person wants to read of a success's body: the answer, or JSON where there is no text."""
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
