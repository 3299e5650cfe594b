"""Structured answers: the schema of the answers, and parsing answers with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openai_batch.requests.answer_types import adapter_of
from openai_batch.requests.json_schema import checker, strict_schema
from openai_batch.results.export import fields_of
from openai_batch.results.fitting import invalid
from openai_batch.results.outcome import Outcome

if TYPE_CHECKING:
    from openai_batch.results.result import Result


class AnswerSchema:
    """The schema of each answer: a pydantic model, a dataclass, a TypedDict, or a JSON schema as a dict.

    Raises UsageError for anything else, and InputError for a schema that strict mode does not allow.
    """

    def __init__(self, given: Any) -> None:
        self._adapter: Any = None
        if isinstance(given, Mapping):
            title, schema = str(given.get("title", "answer")), dict(given)
        else:
            self._adapter = adapter_of(given)
            title, schema = getattr(given, "__name__", "answer"), dict(self._adapter.json_schema())
        self.param: dict[str, Any] = strict_schema(schema, title, "the schema")
        """The `json_schema` of a request."""
        self._problem = checker(self.param["schema"]) if self._adapter is None else None
        self.columns: tuple[str, ...] = tuple(
            self.param["schema"]["properties"] if self._adapter is None else self._names()
        )
        """The names of the fields."""

    def _names(self) -> tuple[str, ...]:
        """Return the names of the fields in Python, with computed ones; those of the schema may be aliases."""
        schema = self._adapter.json_schema(by_alias=False, mode="serialization")
        return tuple(strict_schema(schema, "", "the schema")["schema"]["properties"])

    def applied(self, result: Result) -> Result:
        """Return a result with its answer parsed; one that does not fit the schema becomes an error.

        Refusals and cut answers are not changed.
        """
        if result.outcome is not Outcome.SUCCESS:
            return result
        fields = fields_of(result.texts)
        if fields is None:
            return invalid(result, "the answer is not a JSON object")
        if self._problem is not None:
            problem = self._problem(fields)
            return replace(result, parsed=fields) if problem is None else invalid(result, problem)
        from pydantic import ValidationError

        try:
            return replace(result, parsed=self._adapter.validate_python(fields))
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            return invalid(result, f"{place}: {first['msg']}" if place else str(first["msg"]))

    def fields(self, result: Result) -> dict[str, Any]:
        """Return the fields of a parsed answer as values of JSON; each is None if there is no parsed answer."""
        if result.parsed is None:
            return dict.fromkeys(self.columns)
        if self._adapter is None:
            return {name: result.parsed.get(name) for name in self.columns}
        return dict(self._adapter.dump_python(result.parsed, mode="json"))
