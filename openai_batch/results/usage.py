"""The tokens that results used, as the provider counted them in each result, by model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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

    def add(self, usage: dict[str, Any], *, answered: bool) -> None:
        """Add the `usage` of one result. One that is not `answered` may have none: it is not billed."""
        get = usage.get
        given = token_count(get("prompt_tokens")) or token_count(get("input_tokens"))
        made = token_count(get("completion_tokens")) or token_count(get("output_tokens"))
        if not given and not made:
            given = token_count(get("total_tokens"))  # all that some servers tell of embeddings
        if not given and not made:
            self.uncounted += answered
            return
        self.results += 1
        self.input += given
        self.output += made
        self.largest = max(self.largest, given)
        of_input = get("prompt_tokens_details") or get("input_tokens_details")
        of_output = get("completion_tokens_details") or get("output_tokens_details")
        media = False
        if of_input and isinstance(of_input, dict):
            self.cached_input += min(given, token_count(of_input.get("cached_tokens")))
            media = _is_media(of_input)
        if of_output and isinstance(of_output, dict):
            self.reasoning += token_count(of_output.get("reasoning_tokens"))
            media = media or _is_media(of_output)
        self.uncounted += media


MAX_MODELS = 100
"""The most models that are counted apart: a server may name another one in each result."""

OTHERS = "other models"
"""The name of all further models together; nothing has its price."""

_MAX_NAME = 200
_MAX_TOKENS = 10**12
"""More tokens than that in one result are a mistake of the server, and count as none."""

Usage = dict[str | None, ModelUsage]
"""The tokens by model, as the results name it; None for results that name none."""


def add_usage(total: Usage, model: Any, usage: Any, *, answered: bool) -> None:
    """Add the `usage` of one result of a model."""
    if not answered and not usage:
        return
    used = total.get(model) if isinstance(model, str) and model else None
    if used is None:
        used = _new_model(total, model)
    used.add(usage if isinstance(usage, dict) else {}, answered=answered)


def _new_model(total: Usage, model: Any) -> ModelUsage:
    """Return the tokens of a model whose name may be anything."""
    name = model[:_MAX_NAME].encode("utf-8", "replace").decode() if isinstance(model, str) and model else None
    if name not in total and len(total) >= MAX_MODELS:
        name = OTHERS
    return total.setdefault(name, ModelUsage())


def token_count(value: Any) -> int:
    """Return a number of tokens as a server sends it; 0 for what cannot be one."""
    return value if type(value) is int and 0 < value < _MAX_TOKENS else 0


def _is_media(details: dict[str, Any]) -> bool:
    """Tell whether tokens are of sound or images, which have prices of their own."""
    return bool(token_count(details.get("audio_tokens")) or token_count(details.get("image_tokens")))
