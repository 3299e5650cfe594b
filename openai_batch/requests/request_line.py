"""What is read of one request line: its id, its model and its input."""

from __future__ import annotations

import msgspec


class RequestBody(msgspec.Struct):
    """What is read of a request's body."""

    model: str | None = None
    input: msgspec.Raw | None = None


class RequestLine(msgspec.Struct):
    """What is read of a request whose line was checked before, or is checked later."""

    body: RequestBody
    custom_id: str = ""


decode_request = msgspec.json.Decoder(RequestLine).decode
"""Decode one line. Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError if it is no request."""
