"""The result of one request: reads a result line and decides its outcome. This is the only place that does so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec

from openai_batch.errors import count_text
from openai_batch.hidden_keys import beginning

from .answers import Answer, answer_in
from .outcome import NO_RESULT, SUCCEEDED, Outcome, Verdict
from .reasons import ResultError, failed_with, has_content, own_failure
from .result_line import UNREADABLE, ResultLine, read_json, read_line

if TYPE_CHECKING:
    from collections.abc import Callable

Judge: TypeAlias = "Callable[[bytes], Result]"
"""Reads a result line and decides its outcome: `Result.of`, or with a check against the request (`fitting`)."""

_REASONING = ("reasoning_content", "reasoning", "thinking")  # where a message has it
_SHOWN = 80  # the most characters of an answer in a result's `repr`


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The result of one request."""

    custom_id: str
    """The id of the request."""
    outcome: Outcome
    """How it ended: success, refused, cut, error or missing."""
    status_code: int | None = None
    """The HTTP status; None if there was no response."""
    body: Any = None
    """The body of the response, decoded; None if there was none."""
    answer: Any = None
    """The answer: a text, a vector, a number, tool calls; a list if there are several; None if there is none.

    Reasoning and commentary are in the `body` only.
    """
    parsed: Any = None
    """The answer as a value of the schema that the program gave; None without a schema, or if it does not fit."""
    texts: tuple[str, ...] = ()
    """The texts that the model wrote as its answer: one for each choice or message."""
    finish_reason: str | None = None
    """Why the answer ends, in the provider's word; of several choices, the most important reason."""
    refusal: str | None = None
    """The text of the refusal; empty if there is none, None if the request was not refused."""
    error: ResultError | None = None
    """Why the request failed, or was refused with an error: `code`, `message`, `retryable`; as text a summary."""
    usage: dict[str, Any] = field(default_factory=dict)
    """The tokens that the provider counted, by kind."""

    def __repr__(self) -> str:
        summary = self.summary
        shown = beginning(summary, _SHOWN) + ("…" if len(summary) > _SHOWN else "")
        return f"<Result {self.custom_id!r} {self.outcome}: {shown!r}>"

    @property
    def ok(self) -> bool:
        """Whether the request succeeded: the answer is there and complete."""
        return self.outcome is Outcome.SUCCESS

    @property
    def text(self) -> str | None:
        """The answer as text, and as JSON if it is not text; None if there is none."""
        if self.answer is None or isinstance(self.answer, str):
            return self.answer
        return msgspec.json.encode(self.answer).decode()

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The choices of a chat or a completion, as the provider sent them, in the order of their `index`."""
        choices = _objects(self.body, "choices")
        return sorted(choices, key=lambda choice: index if isinstance(index := choice.get("index"), int) else 0)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The tool calls of the answer, as the provider sent them; of several choices, those of all."""
        calls = [call for message in self._messages for call in _objects(message, "tool_calls")]
        made = ("function_call", "custom_tool_call")
        return calls + [item for item in _objects(self.body, "output") if item.get("type") in made]

    @property
    def reasoning(self) -> str | None:
        """The text of the model's reasoning; None if the provider does not show it."""
        texts = []
        for message in self._messages:
            texts += [message[name] for name in _REASONING if isinstance(message.get(name), str)][:1]
        for item in _objects(self.body, "output"):
            if item.get("type") == "reasoning":
                texts += [part.get("text") for name in ("content", "summary") for part in _objects(item, name)]
        found = [text for text in texts if isinstance(text, str) and text]
        return "\n".join(found) or None

    @property
    def _messages(self) -> list[dict[str, Any]]:
        return [message for choice in self.choices if isinstance(message := choice.get("message"), dict)]

    @property
    def embedding(self) -> list[float] | None:
        """The vector of an embeddings request; None for another answer, and for one with several vectors."""
        numbers = isinstance(self.answer, list) and set(map(type, self.answer)) <= {float, int}
        return self.answer if self.ok and numbers else None

    @property
    def summary(self) -> str:
        """The answer as shown in a list: a vector by its length, a failure by its cause."""
        if self.outcome.answered and isinstance(self.answer, list) and set(map(type, self.answer)) == {float}:
            return f"[{count_text(len(self.answer), 'number')}]"
        answer = self.text if self.outcome.answered else None
        return answer or self.refusal or self.verdict.cause

    @property
    def verdict(self) -> Verdict:
        """The outcome with its cause."""
        if self.outcome is Outcome.SUCCESS:
            return SUCCEEDED
        if self.error is not None:
            return Verdict(self.outcome, str(self.error), self.error.retryable)
        reason = self.finish_reason if self.finish_reason not in (None, "stop", "completed") else None
        return Verdict(self.outcome, f"{self.outcome}: {reason}" if reason else str(self.outcome))

    @classmethod
    def of(cls, line: bytes) -> Self:
        """Read a result line, as `Job.download` writes it.

            lines = Path("output.jsonl").read_bytes().splitlines()
            results = [Result.of(line) for line in lines]

        Raises ValueError or RecursionError if it is not one.
        """
        result = read_line(line)
        if result.response is None and not has_content(result.error):
            cause = result.missing or NO_RESULT.cause
            return cls.missing(result.custom_id, NO_RESULT._replace(cause=cause))
        status = _status(result)
        body = _body(result.response.body if result.response is not None else None)
        usage = body.get("usage") if isinstance(body, dict) else None
        error, answer = _judge(result, status, body)
        return cls(
            custom_id=result.custom_id,
            outcome=_outcome(error, answer),
            status_code=status,
            body=body,
            answer=answer.value,
            texts=answer.texts,
            finish_reason=answer.finish_reason,
            refusal=error.message if error is not None and error.declined else answer.refusal,
            error=error,
            usage=usage if isinstance(usage, dict) else {},
        )

    @classmethod
    def missing(cls, custom_id: str, verdict: Verdict = NO_RESULT) -> Self:
        """Return the result of the request `custom_id`, which has none, for the reason in `verdict`.

            result = Result.missing("line-7")

        Its outcome is `missing`.
        """
        code, _, message = verdict.cause.partition(": ")
        return cls(custom_id, Outcome.MISSING, error=ResultError(code, message, verdict.retryable))


def _objects(owner: Any, name: str) -> list[dict[str, Any]]:
    """Return the objects in the list that `owner` has under this name; none if it has no such list."""
    items = owner.get(name) if isinstance(owner, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _judge(result: ResultLine, status: int | None, body: Any) -> tuple[ResultError | None, Answer]:
    """Return the error of a result, if it has one, and the answer."""
    if has_content(result.error):
        return failed_with(result.error), Answer()
    if status is None or not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own numbers
        return failed_with(body, status) if status else ResultError(None, "no HTTP status", retryable=True), Answer()
    failure = own_failure(body)
    if failure is not None:
        return failed_with(failure), Answer()
    if body is None or body in ("", {}, []):
        return ResultError(None, "the response is empty", retryable=True), Answer()
    if isinstance(body, str) and body.lstrip()[:9].lower().startswith(("<!doctype", "<html")):
        return ResultError(None, f"the response is a web page: {body.strip()}", retryable=True), Answer()
    answer = answer_in(body)
    return (None, answer) if answer.failure is None else (failed_with(answer.failure), Answer())


def _outcome(error: ResultError | None, answer: Answer) -> Outcome:
    if error is not None:
        return Outcome.REFUSED if error.declined else Outcome.ERROR
    if answer.refusal is not None:
        return Outcome.REFUSED
    return Outcome.CUT if answer.cut else Outcome.SUCCESS


def _status(result: ResultLine) -> int | None:
    """Return the HTTP status; some servers write it as text or with a decimal point."""
    status = result.response.status_code if result.response is not None else None
    try:
        return int(status) if isinstance(status, int | float | str) and not isinstance(status, bool) else None
    except (ValueError, OverflowError):
        return None


def _body(body: Any) -> Any:
    """Return the content of a body that is a string of JSON; plain text is not changed."""
    if not isinstance(body, str) or not body.lstrip().startswith(("{", "[", '"')):
        return body
    try:
        value = read_json(body)
    except UNREADABLE:
        return body
    return value if isinstance(value, dict | list | str) else body
