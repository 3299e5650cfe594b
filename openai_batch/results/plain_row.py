"""Read the flat row of a plain chat success from a few typed fields, several times as fast as by way of a `Result`."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from .answers import BESIDE
from .flatten import INPUT_TOKENS, OUTPUT_TOKENS, first_of
from .outcome import Outcome


class _Choice(msgspec.Struct, gc=False):
    message: dict[str, Any]
    finish_reason: Literal["stop"]
    error: None = None


class _Body(msgspec.Struct, gc=False):
    choices: tuple[_Choice]
    model: Any = None
    usage: dict[str, Any] | None = None
    object: Literal["chat.completion"] | None = None
    error: None = None
    status: None = None
    success: None = None


class _Response(msgspec.Struct, gc=False):
    status_code: Literal[200]
    body: _Body


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    response: _Response
    error: None = None


_decode = msgspec.json.Decoder(_Line).decode


class PlainRow(NamedTuple):
    """What the line of a plain success says."""

    custom_id: str  # the id of the request
    answer: str  # the text of the answer
    values: tuple[Any, ...]  # what `flat` returns


def plain_row(line: bytes) -> PlainRow | None:
    """Return what a result line says, if it is a success with one text and nothing else; None for any other line."""
    try:
        read = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    body = read.response.body
    message = body.choices[0].message
    answer = message.get("content")
    # A text that begins with a tag may begin with the model's thoughts.
    if type(answer) is not str or message.get("refusal") or answer.lstrip()[:1] == "<":
        return None
    for name, value in message.items():
        if value and name not in BESIDE:
            return None
    usage = body.usage or {}
    given, made = first_of(usage, INPUT_TOKENS), first_of(usage, OUTPUT_TOKENS)
    return PlainRow(read.custom_id, answer, (answer, "stop", body.model, given, made, Outcome.SUCCESS, None, None))
