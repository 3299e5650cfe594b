"""The tokens that results used, as the provider counted them in each result, by model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


class _Details(msgspec.Struct, gc=False):
    cached_tokens: Any = None
    reasoning_tokens: Any = None
    audio_tokens: Any = None
    image_tokens: Any = None

    @property
    def media(self) -> bool:
        """Whether tokens are of sound or images, which have prices of their own."""
        return bool(token_count(self.audio_tokens) or token_count(self.image_tokens))


class TokenCounts(msgspec.Struct, gc=False):
    """The `usage` of a result: the fields of chat completions, and those of responses."""

    prompt_tokens: Any = None
    input_tokens: Any = None
    completion_tokens: Any = None
    output_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None

    @classmethod
    def of(cls, usage: Any) -> TokenCounts:
        """Return the usage in any JSON value; details that are not objects are ignored."""
        if not isinstance(usage, dict):
            return cls()
        details = {key: value for key, value in usage.items() if key.endswith("_details")}
        plain = {key: value for key, value in usage.items() if key not in details}
        objects = {key: value for key, value in details.items() if isinstance(value, dict)}
        return msgspec.convert(plain | objects, cls)


msgspec.json.Decoder(
    TokenCounts
)  # makes `convert` safe: msgspec crashes if two threads use a Struct for the first time


@dataclass(slots=True)
class ModelUsage:
    """The tokens of the results of one model."""

    results: int = 0
    """The number of results with tokens."""
    uncounted: int = 0
    """The number of answers whose tokens the provider did not count, or counted in part as images or sound."""
    input: int = 0
    """The input tokens, with the cached ones."""
    cached_input: int = 0
    """The input tokens that the provider had in its cache."""
    output: int = 0
    """The output tokens, with those of reasoning."""
    reasoning: int = 0
    """The output tokens of reasoning."""
    largest: int = 0
    """The most input tokens of one result: some prices are higher for long inputs."""

    def add(self, usage: TokenCounts, *, answered: bool) -> None:
        """Add the tokens of one result. One that is not `answered` may have none: it is not billed."""
        given = token_count(usage.prompt_tokens) or token_count(usage.input_tokens)
        made = token_count(usage.completion_tokens) or token_count(usage.output_tokens)
        if not given and not made:
            given = token_count(usage.total_tokens)  # some servers report only this for embeddings
        if not given and not made:
            self.uncounted += answered
            return
        self.results += 1
        self.input += given
        self.output += made
        self.largest = max(self.largest, given)
        of_input = usage.prompt_tokens_details or usage.input_tokens_details
        of_output = usage.completion_tokens_details or usage.output_tokens_details
        if of_input:
            self.cached_input += min(given, token_count(of_input.cached_tokens))
        if of_output:
            self.reasoning += token_count(of_output.reasoning_tokens)
        self.uncounted += bool((of_input and of_input.media) or (of_output and of_output.media))


MAX_MODELS = 100
"""The most models that are counted separately: a server may name another one in each result."""

OTHERS = "other models"
"""The name for all further models; it has no price."""

_MAX_NAME = 200
_MAX_TOKENS = 10**12
"""More tokens than that in one result are a mistake of the server, and count as none."""

Usage = dict[str | None, ModelUsage]
"""The tokens by model, as the results name it; None for results that name none."""


def add_usage(total: Usage, model: Any, usage: TokenCounts | None, *, answered: bool) -> None:
    """Add the `usage` of one result of a model; None if it has none."""
    if not answered and usage is None:
        return
    used = total.get(model) if isinstance(model, str) and model else None
    if used is None:
        used = _new_model(total, model)
    used.add(usage or TokenCounts(), answered=answered)


def _new_model(total: Usage, model: Any) -> ModelUsage:
    """Return the tokens of a model whose name may be anything."""
    name = model[:_MAX_NAME].encode("utf-8", "replace").decode() if isinstance(model, str) and model else None
    if name not in total and len(total) >= MAX_MODELS:
        name = OTHERS
    return total.setdefault(name, ModelUsage())


def token_count(value: Any) -> int:
    """Return a number of tokens as a server sends it; 0 for an invalid one."""
    return value if type(value) is int and 0 < value < _MAX_TOKENS else 0
