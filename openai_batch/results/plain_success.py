"""Read plain successes from a few typed fields; nearly all result lines are such. `Result` reads the others.

What is read here is the same as what `Result` reads, several times as fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from openai_batch.requests.strict_json import may_be_too_deep

from .answers import BESIDE
from .outcome import SUCCEEDED, Outcome
from .result import Result
from .usage import TokenCounts

if TYPE_CHECKING:
    from .outcome import Verdict
    from .result import Judge

_OK = 200


class _Part(msgspec.Struct, gc=False):
    type: str | None = None


class _Message(msgspec.Struct, gc=False):
    refusal: Any = None
    content: str | list[_Part] | None = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: Any = None
    error: Any = None
    message: _Message | None = None


class _Item(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None


class _Body(msgspec.Struct, gc=False):
    error: Any = None
    status: Any = None
    object: Any = None
    success: Any = None
    incomplete_details: Any = None
    choices: list[_Choice] | None = None
    output: list[_Item] | None = None
    model: Any = None
    usage: TokenCounts | None = None


class _Response(msgspec.Struct, gc=False):
    status_code: Any = None
    body: _Body | str | int | float | bool | list[msgspec.Raw] | None = None


class TypedLine(msgspec.Struct, gc=False):
    """The fields of a result line that distinguish a plain success from other results."""

    custom_id: str
    response: _Response | None = None
    error: Any = None


_PLAIN_ENDS = ("stop", "tool_calls", "function_call", None)


def plain_body(line: TypedLine) -> _Body | None:
    """Return the body of a success by the rules of `Result`; None if the typed fields do not show a success."""
    response = line.response
    if response is None or line.error or type(response.status_code) is not int or response.status_code != _OK:
        return None
    body = response.body
    if type(body) is not _Body or body.error or body.incomplete_details or body.status not in (None, "completed"):
        return None
    if body.object == "error" or body.success is False or not (body.object or body.choices or body.output):
        return None
    for choice in body.choices or ():
        message = choice.message
        if choice.finish_reason not in _PLAIN_ENDS or choice.error:
            return None
        if message is not None and (message.refusal or _refuses(message.content)):
            return None
    return None if any(_refuses(item.content) for item in body.output or ()) else body


def _refuses(content: str | list[_Part] | None) -> bool:
    return type(content) is list and any(part.type == "refusal" for part in content)


_decode = msgspec.json.Decoder(TypedLine).decode
_UNFIT = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def verdict_of(line: bytes, judge: Judge) -> Verdict:
    """Return how the request of a result line ended, as `judge` says. Raises what `judge` raises."""
    if judge == Result.of and not may_be_too_deep(line):
        try:
            line.decode()  # the decoder skips other fields
            if plain_body(_decode(line)) is not None:
                return SUCCEEDED
        except _UNFIT:
            pass
    return judge(line).verdict


class _RowChoice(msgspec.Struct, gc=False):
    message: dict[str, Any]
    finish_reason: Literal["stop"]
    error: None = None


class _RowUsage(msgspec.Struct, gc=False):
    prompt_tokens: Any = None
    input_tokens: Any = None
    completion_tokens: Any = None
    output_tokens: Any = None


class _RowBody(msgspec.Struct, gc=False):
    choices: tuple[_RowChoice]
    model: Any = None
    usage: _RowUsage | None = None
    object: Literal["chat.completion"] | None = None
    error: None = None
    status: None = None
    success: None = None


class _RowResponse(msgspec.Struct, gc=False):
    status_code: Literal[200]
    body: _RowBody


class _RowLine(msgspec.Struct, gc=False):
    custom_id: str
    response: _RowResponse
    error: None = None


_NO_USAGE = _RowUsage()
_SUCCESS = Outcome.SUCCESS.value
_decode_row = msgspec.json.Decoder(_RowLine).decode


class PlainRow(NamedTuple):
    """What the line of a plain success says."""

    custom_id: str  # the id of the request
    answer: str  # the text of the answer
    values: tuple[Any, ...]  # what `flat` returns


def plain_row(line: bytes) -> PlainRow | None:
    """Return what a result line says, if it is a success with one text and nothing else; None for any other line."""
    try:
        read = _decode_row(line)
    except _UNFIT:
        return None
    body = read.response.body
    message = body.choices[0].message
    answer = message.get("content")
    # A text that begins with a tag may begin with reasoning.
    if type(answer) is not str or message.get("refusal") or answer.lstrip()[:1] == "<":
        return None
    for name, value in message.items():
        if value and name not in BESIDE:
            return None
    usage = body.usage or _NO_USAGE
    given = usage.input_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    made = usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens
    return PlainRow(read.custom_id, answer, (answer, "stop", body.model, given, made, _SUCCESS, None, None))
