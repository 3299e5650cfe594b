"""Make the lines of output and error files; they keep the upstream's bytes as they are."""

from __future__ import annotations

import json
import secrets
from typing import Any, NamedTuple

import msgspec

from .store import FAILED, SUCCEEDED

NO_TOKENS = (0, 0, 0, 0, 0)  # input, cached, output, reasoning and total tokens

_encode = msgspec.json.encode


class ResultRecord(NamedTuple):
    """A finished line of a result file."""

    state: int  # SUCCEEDED (for the output file) or FAILED (for the error file)
    data: bytes  # the line with its newline
    tokens: tuple[int, int, int, int, int] = NO_TOKENS  # the usage that the response reports


class _Body(msgspec.Struct):
    error: Any = None  # the error in the response's body
    usage: msgspec.Raw = msgspec.Raw(b"null")  # the usage in it, as JSON


_scan = msgspec.json.Decoder(_Body).decode


def response_line(custom_id: str, status: int, request_id: str | None, body: bytes) -> ResultRecord:
    """Return the line of a request with an HTTP response.

    It succeeded if the status is 2xx and the body is a JSON object without an error. JSON is kept byte for byte, except
    for line ends, if it is JSON for everyone; what is not JSON becomes a JSON string.
    """
    found = _read(body)
    body, scanned = (_encode(body.decode("utf-8", "replace")), None) if found is None else found
    good = 200 <= status < 300 and scanned is not None and not scanned.error  # noqa: PLR2004 - HTTP's
    data = b'{"id":%b,"custom_id":%b,"response":{"status_code":%d,"request_id":%b,"body":%b},"error":null}\n' % (
        _new_id(),
        _encode(custom_id),
        status,
        _encode(request_id or f"req_{secrets.token_hex(12)}"),
        body,
    )
    tokens = _tokens(scanned.usage) if scanned is not None else NO_TOKENS
    return ResultRecord(SUCCEEDED if good else FAILED, data, tokens)


def error_line(custom_id: str, code: str, message: str) -> ResultRecord:
    """Return the line of a request that was not run or got no response, with an error code and a message."""
    error = _encode({"code": code, "message": message})
    data = b'{"id":%b,"custom_id":%b,"response":null,"error":%b}\n' % (_new_id(), _encode(custom_id), error)
    return ResultRecord(FAILED, data)


def _new_id() -> bytes:
    return b'"batch_req_%b"' % secrets.token_hex(12).encode()


def is_object(body: bytes) -> bool:
    """Return whether `body` is a JSON object."""
    found = _read(body)
    return found is not None and found[1] is not None


def _read(body: bytes) -> tuple[bytes, _Body | None] | None:
    """Return a body that is JSON as one line of JSON, with its relevant fields if it is an object; else None.

    What only Python takes for JSON (NaN, a lone surrogate, a byte order mark) is accepted, and is encoded again.
    """
    try:
        body.decode()
        return body.replace(b"\n", b" ").replace(b"\r", b" "), _scan(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = json.loads(body)
        line = json.dumps(value).encode()
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return line, None
    return line, _Body(value.get("error"), msgspec.Raw(json.dumps(value.get("usage")).encode()))


def _tokens(raw: msgspec.Raw) -> tuple[int, int, int, int, int]:
    """Return input, cached, output, reasoning and total tokens, in either of the API's two naming schemes."""
    try:
        usage = msgspec.json.decode(raw)
    except msgspec.DecodeError:  # such as a number that is too large for Python
        return NO_TOKENS
    if not isinstance(usage, dict):
        return NO_TOKENS
    new_names = "input_tokens" in usage
    names = ("input_tokens", "output_tokens") if new_names else ("prompt_tokens", "completion_tokens")
    given, made = (_count(usage, name) for name in names)
    cached = _count(usage.get(f"{names[0]}_details"), "cached_tokens")
    reasoning = _count(usage.get(f"{names[1]}_details"), "reasoning_tokens")
    return given, cached, made, reasoning, _count(usage, "total_tokens") or given + made


def _count(values: Any, name: str) -> int:
    value = values.get(name) if isinstance(values, dict) else None
    return value if isinstance(value, int) and 0 <= value < 1 << 40 else 0
