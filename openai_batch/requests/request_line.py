"""What is read of one request line: its id, its model and its input."""

from __future__ import annotations

import msgspec


class Body(msgspec.Struct):
    """What is read of a request's body."""

    model: str | None = None
    input: msgspec.Raw | None = None


class Request(msgspec.Struct):
    """What is read of a request whose line was checked before, or is checked later."""

    body: Body
    custom_id: str = ""


decode_request = msgspec.json.Decoder(Request).decode
"""Decode one line. Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError if it is no request."""
