"""Check a block of request lines at once. Programs write nearly every batch file, so nearly every block passes.

Each test here is at least as strict as the one that `requests/check` makes line by line. Where a line may be wrong,
`requests/check` checks its block again and describes the problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .check_report import RequestChunk
from .strict_json import MAX_DEPTH, is_too_deep, repeated_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .check_report import Row


class _Request(msgspec.Struct, gc=False):
    """A line with all fields, each of the right type."""

    custom_id: str
    method: Literal["POST"]
    url: str
    body: msgspec.Raw  # not decoded


class _ExactRequest(_Request, forbid_unknown_fields=True, gc=False):
    """A line with these fields and no others."""


_KEYS = _Request.__struct_fields__
_LONG_FRAME = len('{"custom_id":"","method":"POST","url":"","body":}' + '"url":"",')  # with the shortest repeated key
_SHORTEST_FIELD = len('"":0,')
_MODEL_TYPES = {str, type(None)}

_decode = msgspec.json.Decoder(_Request).decode
_decode_exact = msgspec.json.Decoder(_ExactRequest).decode
_decode_body = msgspec.json.Decoder(dict[str, Any]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def read_chunk(block: bytes) -> RequestChunk | None:
    """Return the requests of a block of whole lines; None unless every line is a good request for the same endpoint.

    The caller checks what depends on other blocks: repeated ids, and the limits and models of the file.
    """
    lines = block.split(b"\n")
    if lines.pop() or b"\r" in block:
        return None
    try:
        requests = _requests(block, lines)
        bodies = [_decode_body(request.body) for request in requests]
        if _repeats_a_key(lines, requests, bodies) or _is_too_deep(lines, bodies):
            return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    ids = [request.custom_id for request in requests]
    urls = {request.url for request in requests}
    models = [body.get("model") for body in bodies]
    streams = [body.get("stream") for body in bodies]
    if (
        len(urls) != 1
        or not all(ids)
        or not "".join(ids).isprintable()
        or "" in models
        or not set(map(type, models)) <= _MODEL_TYPES
        or any(streams)
    ):
        return None
    url = urls.pop()
    inputs = [count_inputs(url, body.get("input")) for body in bodies]
    return RequestChunk(block, lines, url, ids, models, inputs, bodies)


def chunk_of(rows: Sequence[Row], lines: list[bytes]) -> RequestChunk:
    """Return a chunk of requests that were accepted line by line; `lines` are their lines, without newlines."""
    return RequestChunk(
        data=b"".join([line + b"\n" for line in lines]),
        lines=lines,
        url=rows[0].url,
        ids=[row.custom_id for row in rows],
        models=[row.model for row in rows],
        inputs=[row.inputs for row in rows],
        bodies=[_decode_body(_decode(line).body) for line in lines],
    )


def count_inputs(url: object, inputs: object) -> int:
    """Return how many texts an embedding request with these `inputs` embeds; 0 for any other request.

    A list of numbers is the tokens of one text.
    """
    if not isinstance(url, str) or not url.endswith("/embeddings"):
        return 0
    return len(inputs) if isinstance(inputs, list) and inputs and not isinstance(inputs[0], int | float) else 1


def _requests(block: bytes, lines: list[bytes]) -> list[_Request]:
    """Decode the lines of a block, but not the bodies. Raises UnicodeDecodeError if another part is not UTF-8."""
    try:
        return [_decode_exact(line) for line in lines]
    except msgspec.ValidationError:
        block.decode()  # a line has other keys, whose values the decoder skips
        return [_decode(line) for line in lines]


def _repeats_a_key(lines: list[bytes], requests: list[_Request], bodies: list[dict[str, Any]]) -> bool:
    """Return whether a line has a key of the request or of its body twice.

    The decoder keeps one value per key. So a line with a repeated key is longer than its decoded fields need, by the
    length of that key or more. Spaces are the usual reason for a longer line.
    """
    outside = [
        len(line) - len(request.body) - len(request.custom_id) - len(request.url)
        for line, request in zip(lines, requests, strict=True)
    ]
    inside = [len(request.body) - len(_encode(_decode_fields(request.body))) for request in requests]
    if max(outside) < _LONG_FRAME and max(inside) < _SHORTEST_FIELD:
        return False
    return any(
        repeated_key(line, (*_KEYS, *body)) is not None
        for line, body, around, within in zip(lines, bodies, outside, inside, strict=True)
        if around >= _LONG_FRAME or (body and within >= _SHORTEST_FIELD + min(map(len, body)))
    )


def _is_too_deep(lines: list[bytes], bodies: list[dict[str, Any]]) -> bool:
    """Return whether a line is nested too deeply. Short lines cannot be."""
    return max(map(len, lines)) > 2 * MAX_DEPTH and any(map(is_too_deep, lines, bodies))
