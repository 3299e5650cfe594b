"""The columns that an answer adds to its row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_batch.errors import UsageError
from openai_batch.results.flatten import cell_of, token_counts

if TYPE_CHECKING:
    from openai_batch.results.result import Result

    from .schema import AnswerSchema

ANSWER = "answer"
ABOUT = ("outcome", "error", "finish_reason", "prompt_tokens", "completion_tokens")
"""The columns about an answer."""


def new_columns(schema: AnswerSchema | None) -> tuple[str, ...]:
    """Return the names of the new columns: the answer or the fields of the schema, then its details.

    Raises UsageError if a field has the name of such a column.
    """
    taken = [] if schema is None else [name for name in schema.columns if name in ABOUT]
    if taken:
        raise UsageError(
            f"the schema has a field {taken[0]!r}, which is the name of a column about each answer; nothing was sent",
            hint="rename the field; with an alias the model still sees the old name",
        )
    return (*((ANSWER,) if schema is None else schema.columns), *ABOUT)


def new_cells(result: Result | None, schema: AnswerSchema | None) -> dict[str, Any]:
    """Return the cells of the new columns for a result; all are None for a row that was not sent."""
    if result is None:
        return dict.fromkeys(new_columns(schema))
    if schema is not None:
        cells = schema.fields(result)
    else:
        answer = result.answer if result.outcome.answered else None
        cells = {ANSWER: cell_of(answer) if answer is not None else result.refusal or None}
    cause = None if result.ok else result.verdict.cause
    values = (str(result.outcome), cause, result.finish_reason, *token_counts(result))
    return cells | dict(zip(ABOUT, values, strict=True))
