"""Count the tokens of result lines. Only the fields that hold them are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .flatten import token_counts
from .result import Result
from .result_line import UNREADABLE
from .usage import token_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .tally import Tally


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    input_tokens: int | None = None
    completion_tokens: int | None = None
    output_tokens: int | None = None


class _Body(msgspec.Struct, gc=False):
    usage: _Usage | None = None


class _Response(msgspec.Struct, gc=False):
    body: _Body | None = None


class _Line(msgspec.Struct, gc=False):
    response: _Response | None = None


_decode = msgspec.json.Decoder(_Line).decode


def counting_tokens(lines: Iterable[bytes], tally: Tally) -> Iterator[bytes]:
    """Yield result lines as they are, and add their tokens to the `usage` of `tally`."""
    for line in lines:
        tokens_in, tokens_out = _tokens_of(line)
        tally.usage["prompt_tokens"] += tokens_in
        tally.usage["completion_tokens"] += tokens_out
        yield line


def _tokens_of(line: bytes) -> tuple[int, int]:
    """Return the tokens of a result's prompt and answer; 0 for what the provider did not count."""
    try:
        response = _decode(line).response
    except UNREADABLE:  # not as most servers write it, such as a body in a string
        tokens_in, tokens_out = token_counts(Result.of(line))
        return token_count(tokens_in), token_count(tokens_out)
    usage = response.body.usage if response is not None and response.body is not None else None
    if usage is None:
        return 0, 0
    tokens_in, tokens_out = usage.prompt_tokens or usage.input_tokens, usage.completion_tokens or usage.output_tokens
    return token_count(tokens_in), token_count(tokens_out)
