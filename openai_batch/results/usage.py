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
        given = _count(usage, "prompt_tokens") or _count(usage, "input_tokens")
        made = _count(usage, "completion_tokens") or _count(usage, "output_tokens")
        if not given and not made:
            given = _count(usage, "total_tokens")  # all that some servers tell of embeddings
        if not given and not made:
            self.uncounted += answered
            return
        self.results += 1
        self.input += given
        self.output += made
        self.largest = max(self.largest, given)
        of_input = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        of_output = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
        if isinstance(of_input, dict):
            self.cached_input += min(given, _count(of_input, "cached_tokens"))
        if isinstance(of_output, dict):
            self.reasoning += _count(of_output, "reasoning_tokens")
        if _is_media(of_input) or _is_media(of_output):
            self.uncounted += 1


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
    name = model[:_MAX_NAME].encode("utf-8", "replace").decode() if isinstance(model, str) and model else None
    if name not in total:
        name = name if len(total) < MAX_MODELS else OTHERS
        total.setdefault(name, ModelUsage())
    total[name].add(usage if isinstance(usage, dict) else {}, answered=answered)


def _count(values: dict[str, Any], key: str) -> int:
    value = values.get(key)
    return value if type(value) is int and 0 < value < _MAX_TOKENS else 0


def _is_media(details: Any) -> bool:
    """Tell whether tokens are of sound or images made or heard, which have prices of their own."""
    return isinstance(details, dict) and bool(_count(details, "audio_tokens") or _count(details, "image_tokens"))
