"""Statistics of the results of a job or a file: why answers end, models, tokens, lengths. They need little memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .distribution import Distribution
from .flatten import token_counts

if TYPE_CHECKING:
    from .result import Result

_NAMES = 100  # how many different names are counted separately; a server can send any text
_LENGTH = 200  # characters of a name that are kept
OTHER = "(other)"  # the name under which further names are counted


@dataclass(slots=True)
class Statistics:
    """Statistics of results, counted one result at a time."""

    finish_reasons: Counter[str] = field(default_factory=Counter)
    """Why the answers end, in the provider's words."""
    models: Counter[str] = field(default_factory=Counter)
    """The models that answered."""
    prompt_tokens: Distribution = field(default_factory=Distribution)
    """The tokens of each prompt."""
    completion_tokens: Distribution = field(default_factory=Distribution)
    """The tokens of each answer."""
    characters: Distribution = field(default_factory=Distribution)
    """The characters of each answer."""
    answered_after: Distribution = field(default_factory=Distribution)
    """The seconds from the start to each answer, if the answers have the time at which they were made."""

    def add(self, result: Result, span: tuple[float, float] | None = None) -> None:
        """Count a result. `span` is when its job was sent and when it ended, in Unix seconds, if that is known."""
        body = result.body if isinstance(result.body, dict) else {}
        if result.finish_reason is not None:
            count_name(self.finish_reasons, result.finish_reason)
        if isinstance(model := body.get("model"), str):
            count_name(self.models, model)
        tokens_in, tokens_out = token_counts(result)
        self.prompt_tokens.add(tokens_in)
        self.completion_tokens.add(tokens_out)
        if result.outcome.answered and isinstance(result.answer, str):
            self.characters.add(len(result.answer))
        made = body.get("created") or body.get("created_at")
        if span is not None and isinstance(made, int | float) and span[0] - 1 <= made <= span[1] + 1:
            self.answered_after.add(max(0, made - span[0]))

    def record(self) -> dict[str, Any]:
        """Return its JSON record."""
        return {
            "finish_reasons": dict(self.finish_reasons.most_common()),
            "models": dict(self.models.most_common()),
            "prompt_tokens": self.prompt_tokens.record(),
            "completion_tokens": self.completion_tokens.record(),
            "characters": self.characters.record(),
            "answered_after_seconds": self.answered_after.record(),
        }


def count_name(names: Counter[str], name: str) -> None:
    """Count the beginning of a name; beyond the first hundred, under `(other)`."""
    name = name[:_LENGTH]
    names[name if name in names or len(names) < _NAMES else OTHER] += 1
