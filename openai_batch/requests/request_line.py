"""Read only the id, the endpoint, the model and the input of a request line."""

from __future__ import annotations

import msgspec


class RequestBody(msgspec.Struct):
    """The fields of a request's body that are read."""

    model: str | None = None  # the model that the request names, or None
    # The input, for example of an embedding request, not decoded; empty if there is none.
    input: msgspec.Raw = msgspec.Raw()


class RequestLine(msgspec.Struct):
    """The fields of a request line that are read. The full check is in `requests/check`."""

    body: RequestBody  # the body
    custom_id: str = ""  # the custom id; empty if there is none
    url: str = ""  # the endpoint; empty if there is none


decode_request = msgspec.json.Decoder(RequestLine).decode
"""Decode one line. Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError if it is not a request."""
