"""Check answers against the JSON schema that their requests ask for: one that does not fit is an error."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openai_batch.requests.json_schema import checker

from .export import fields_of
from .outcome import Outcome
from .reasons import ResultError
from .result import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from .result import Judge

INVALID = "invalid_answer"  # the code of the error of an answer that does not fit the schema


def judge_by(schema: dict[str, Any]) -> Judge:
    """Return a function that reads a result line, and turns a success that does not fit the schema into an error.

    Tool calls and other answers without a text are not changed.
    """
    problem_of = checker(schema)

    def judge(line: bytes) -> Result:
        result = Result.of(line)
        return fitting(result, problem_of) if result.ok and result.texts else result

    return judge


def fitting(result: Result, problem_of: Callable[[dict[str, Any]], str | None]) -> Result:
    """Return a success as it is, or as an error if it is not a JSON object or `problem_of` its fields is a problem."""
    fields = fields_of(result.texts)
    problem = "the answer is not a JSON object" if fields is None else problem_of(fields)
    return result if problem is None else invalid(result, problem)


def invalid(result: Result, message: str) -> Result:
    """Return a success as an error, because its answer does not fit."""
    quoted = re.sub(r"\s+", " ", result.text or "")[:80]
    error = ResultError(INVALID, f"{message}; it is {quoted!r}", retryable=True)
    return replace(result, outcome=Outcome.ERROR, error=error)
