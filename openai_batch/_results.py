"""Read result lines, tell successes from errors, and put them into the order of the input."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

SAMPLES = 20
"""How many missing ids are kept by name."""


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


@dataclass(slots=True)
class Tally:
    """What became of a job's requests. `causes` counts the errors by what was said; `missing` samples the ids."""

    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    missing_count: int = 0
    missing: list[str] = field(default_factory=list)
    strangers: int = 0
    repeats: int = 0
    causes: Counter[str] = field(default_factory=Counter)

    @property
    def complete(self) -> bool:
        """Whether every request has a success."""
        return self.succeeded == self.requests and self.requests > 0

    def add(self, other: Tally) -> None:
        """Count another part in."""
        for name in ("requests", "succeeded", "failed", "missing_count", "strangers", "repeats"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.missing = (self.missing + other.missing)[:SAMPLES]
        self.causes.update(other.causes)


def judge(response: Response | None, error: Any) -> tuple[bool, str]:
    """Tell whether a result is a success, and if not, why, in few words.

    A success has no error, a 2xx status, and a body without an error of its own; a body that is a string
    holds JSON, as one server writes it.
    """
    if error:
        told: dict[str, Any] = error if isinstance(error, dict) else {"message": error}
        return False, _cause(told.get("code"), told.get("message"))
    if response is None:
        return False, "no response"
    body, status = response.body, response.status_code
    accepted = isinstance(status, int) and 200 <= status < 300  # noqa: PLR2004 - HTTP's own numbers
    if isinstance(body, str):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.MsgspecError, RecursionError):
            return False, "the body is no JSON" if accepted else _cause(status, body)
    inner = body.get("error") if isinstance(body, dict) else None
    if inner or not accepted:
        told = inner if isinstance(inner, dict) else {"message": inner}
        return False, _cause(status, told.get("message") or told.get("code"))
    return True, ""


def read_line(line: bytes) -> ResultLine:
    """Return what a result line holds. Raises MsgspecError, UnicodeDecodeError or RecursionError if it is none.

    A number beyond all bounds somewhere in a body is no reason to lose a result that was paid for.
    """
    try:
        return _decode(line)
    except msgspec.ValidationError:
        return msgspec.convert(json.loads(line), ResultLine)


def cause_of(line: bytes) -> str:
    """Return why a result is no success, in few words."""
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
    """Return (custom_id, success, what a person wants to read: the answer, or the error) of a result line."""
    result = read_line(line)
    success, cause = judge(result.response, result.error)
    if not success:
        return result.custom_id, False, cause
    body = result.response.body if result.response is not None else None
    if isinstance(body, str):
        body = msgspec.json.decode(body)
    return result.custom_id, True, text_of(body)


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
