"""Make the lines of output and error files; they keep the upstream's bytes as they are."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

import msgspec

from .store import FAILED, SUCCEEDED

NO_TOKENS = (0, 0, 0, 0, 0)
"""Input, cached, output, reasoning and total tokens."""

_encode = msgspec.json.encode


class ResultRecord(NamedTuple):
    """A finished line of a result file."""

    state: int
    """SUCCEEDED (for the output file) or FAILED (for the error file)."""
    data: bytes
    """The line with its newline."""
    tokens: tuple[int, int, int, int, int] = NO_TOKENS
    """The usage that the response reports."""


class _Body(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"null")
    """The error in the response's body, as JSON."""
    usage: msgspec.Raw = msgspec.Raw(b"null")
    """The usage in it, as JSON."""


_scan = msgspec.json.Decoder(_Body).decode


def response_line(custom_id: str, status: int, request_id: str | None, body: bytes) -> ResultRecord:
    """Return the line of a request with an HTTP response; it succeeded if the status is 2xx and there is no error."""
    body, scanned = _embeddable(body)
    good = 200 <= status < 300 and (scanned is None or bytes(scanned.error) == b"null")  # noqa: PLR2004 - HTTP's
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


def _embeddable(body: bytes) -> tuple[bytes, _Body | None]:
    """Return `body` as one JSON value on one line, and its error and usage if it is an object.

    JSON is kept byte for byte, except for line ends between its tokens; anything else becomes a JSON string.
    """
    scanned: _Body | None = None
    try:
        text = body.decode()
        try:
            scanned = _scan(body)
        except msgspec.ValidationError:
            msgspec.json.decode(body, type=msgspec.Raw)
        if b"\n" in body or b"\r" in body:
            body = msgspec.json.format(body, indent=-1)
    except UnicodeDecodeError:
        return _encode(body.decode("utf-8", "replace")), None
    except (msgspec.DecodeError, RecursionError):
        return _encode(text), None
    return body, scanned


def _tokens(raw: msgspec.Raw) -> tuple[int, int, int, int, int]:
    """Return input, cached, output, reasoning and total tokens, in either of the API's two namings."""
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
