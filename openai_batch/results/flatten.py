"""Turn a result into one flat row: the answer, why it ended, its tokens, how it ended, or its error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from .result import Result

RESULT_COLUMNS = (
    "answer",
    "finish_reason",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "outcome",
    "error_code",
    "error_message",
)
"""The columns of a result. `outcome` is success, refused, cut, error or missing."""


def flat(result: Result) -> tuple[Any, ...]:
    """Return the values of a result for RESULT_COLUMNS. If the model refused, the text of the refusal is the answer."""
    error = result.error
    model = result.body.get("model") if isinstance(result.body, dict) else None
    return (
        cell_of(result.answer) if error is not None else cell_of(result.answer) or result.refusal or result.answer,
        result.finish_reason,
        model,
        *token_counts(result),
        result.outcome,
        error.code if error is not None else None,
        (error.message or str(error)) if error is not None else None,
    )


def token_counts(result: Result) -> tuple[Any, Any]:
    """Return the tokens of the prompt and of the answer, each None if the provider did not count them."""
    usage = result.usage
    given, made = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return usage.get("input_tokens") if given is None else given, usage.get("output_tokens") if made is None else made


def cell_of(answer: Any) -> Any:
    """Return an answer for one cell: objects, and lists with objects, as JSON text; other values as they are."""
    return msgspec.json.encode(answer).decode() if _has_object(answer) else answer


def _has_object(answer: Any) -> bool:
    return isinstance(answer, dict) or (isinstance(answer, list) and any(map(_has_object, answer)))
