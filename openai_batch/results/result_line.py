"""Read result lines, and find or change the id of a line.

Lines are read by msgspec. What it does not read, such as NaN and half a surrogate pair, is read by Python's own parser.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.requests.strict_json import MAX_DEPTH, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterable

MISSING = "obatch_missing"  # the key of a generated line for a request that has no result


class Response(msgspec.Struct):
    """The fields of a result line's response that are read here."""

    status_code: Any = None  # the HTTP status
    body: Any = None  # the body; some servers write it as a string of JSON


class ResultLine(msgspec.Struct):
    """A line of a provider's output or error file."""

    custom_id: str  # the id of the request
    response: Response | None = None  # the response to the request, or None
    error: Any = None  # the error, if there is one: an object, or text
    missing: str | None = msgspec.field(default=None, name=MISSING)  # in a generated line: why there is no result


class _Id(msgspec.Struct):
    custom_id: str  # the id of the request


class _Request(msgspec.Struct):
    custom_id: str  # the id of the request
    body: Any = None  # its parameters


_decode = msgspec.json.Decoder(ResultLine).decode
_decode_id = msgspec.json.Decoder(_Id).decode
_decode_ids = msgspec.json.Decoder(_Id).decode_lines
_decode_request = msgspec.json.Decoder(_Request).decode
_HALF_PAIR = "\\ud"
_DIGITS = 600
"""The most digits of a whole number that every Python reads, however it is configured."""

UNREADABLE = (ValueError, RecursionError)  # the errors of msgspec and of Unicode are ValueErrors
"""The errors that are raised for an invalid line."""


def read_line(line: bytes) -> ResultLine:
    """Parse a result line. Raises one of UNREADABLE if it is not one."""
    try:
        result = _decode(line)
    except UNREADABLE:
        values = read_json(line)
        if isinstance(values, dict):
            values["custom_id"] = id_of(line)
        return msgspec.convert(values, ResultLine)
    _check_depth(line, [result.error, result.response.body if result.response is not None else None])
    return result


def read_json(text: bytes | str) -> Any:
    """Parse everything that Python's parser reads. A lone surrogate, which no file can hold, becomes U+FFFD.

    A number that is too long for Python is infinite. Raises one of UNREADABLE.
    """
    decoded = text if isinstance(text, str) else text.decode()
    value = json.loads(decoded, parse_int=_whole)
    _check_depth(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"), value)
    return _without_halves(value) if _HALF_PAIR in decoded.lower() else value


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= _DIGITS else float(text)


def _check_depth(raw: bytes, value: Any) -> None:
    """Raise ValueError if JSON is nested too deeply: so that readers do not depend on Python's own limit."""
    if is_too_deep(raw, value):
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _without_halves(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    if isinstance(value, dict):
        return {_without_halves(name): _without_halves(item) for name, item in value.items()}
    return value


def id_of(line: bytes) -> str:
    """Return the id of a request or a result. Some servers write a number: its id is the text of that number.

    Raises one of UNREADABLE if the line has no id.
    """
    try:
        return _decode_id(line).custom_id
    except UNREADABLE:
        values = json.loads(line.decode(), parse_int=str, parse_float=str)
    custom_id = values.get("custom_id") if isinstance(values, dict) else None
    if not isinstance(custom_id, str):
        raise msgspec.ValidationError("it has no custom_id")
    return str(_without_halves(custom_id))


def ids_of(lines: bytes) -> list[str] | None:
    """Return the ids of result lines; None if a line must be read on its own."""
    try:
        return [line.custom_id for line in _decode_ids(lines)]
    except UNREADABLE:
        return None


def ids_in(lines: Iterable[bytes]) -> tuple[list[str], str | None]:
    """Return the ids of the lines of a file of requests, and what is wrong with the first line that has none."""
    ids: list[str] = []
    problem = None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                ids.append(id_of(line.removeprefix(BOM_UTF8) if number == 1 else line))
            except UNREADABLE as exc:
                problem = problem or f"line {number} is not a request ({exc})"
    return ids, problem


def with_id(line: bytes, custom_id: str) -> bytes:
    """Return a result line with this `custom_id`; the line itself, unchanged, if it has that id already."""
    if id_of(line) == custom_id:
        return line
    try:
        raw = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        return msgspec.json.encode(raw | {"custom_id": custom_id}) + b"\n"
    except UNREADABLE:
        return json.dumps(read_json(line) | {"custom_id": custom_id}).encode() + b"\n"


def prompt_text(line: bytes) -> tuple[str, str]:
    """Return (custom_id, prompt) of a request line. The prompt is the last message, the input, or the like."""
    request = _decode_request(line)
    body = request.body if isinstance(request.body, dict) else {}
    messages = body.get("messages")
    source = messages[-1] if isinstance(messages, list) and messages else body
    if not isinstance(source, dict):
        return request.custom_id, ""
    text = next((source[key] for key in ("content", "input", "prompt", "text_2", "query") if source.get(key)), "")
    return request.custom_id, text if isinstance(text, str) else msgspec.json.encode(text).decode()
