"""Read only the id, the model and the input of a request line."""

from __future__ import annotations

from typing import Any

import msgspec


class RequestBody(msgspec.Struct):
    """The fields of a request's body that are read."""

    model: str | None = None
    """The model that the request names, or None."""
    input: Any = None
    """The input, such as the texts of an embedding request; None for other requests."""


class RequestLine(msgspec.Struct):
    """The fields of a request line that are read. The full check is in `requests/check`."""

    body: RequestBody
    """The body."""
    custom_id: str = ""
    """The custom id; empty if there is none."""


decode_request = msgspec.json.Decoder(RequestLine).decode
"""Decode one line. Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError if it is not a request."""
