"""Find the answer in the body of a response, for every kind of request.

Reasoning, commentary and the envelope are left out. Tool calls, images and other values that are not text are kept.
"""

from __future__ import annotations

import base64
import re
import sys
from array import array
from dataclasses import dataclass
from typing import Any

import msgspec

_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_DECLINED = frozenset({"content_filter", "refusal", "safety", "prohibited_content", "recitation", "blocklist", "spii"})

# The fields of a message, besides its content, that are not part of the answer.
BESIDE = frozenset(
    {"role", "content", "refusal", "reasoning", "reasoning_content", "reasoning_details", "thinking", "name", "id"}
    | {"annotations", "prefix", "provider_specific_fields", "phase", "status", "type", "stop_reason", "thinking_blocks"}
    | {"encrypted_content", "reasoning_opaque", "reasoning_text", "metadata", "content_filter_results", "context"}
)
# The items of a response's output with which a model works. They are the answer only if there is nothing else.
_STEPS = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "mcp_call", "mcp_list_tools", "tool_search_call"}
    | {"tool_search_output"}
)
_THOUGHTS = frozenset({"reasoning", "compaction"})
_TEXTS = frozenset({None, "text", "output_text"})
_THOUGHT_PARTS = frozenset({"thinking", "reasoning", "reasoning_text", "summary_text", "redacted_thinking"})

# The fields around the answer in the body of any endpoint.
_ENVELOPE = frozenset(
    {"id", "object", "model", "created", "created_at", "usage", "error", "status", "system_fingerprint", "service_tier"}
    | {"provider", "meta", "logprobs", "languages"}
)
_THINKING = re.compile(r"\s*<(think|thinking|thought|reasoning)>.*?</\1>\s*", re.DOTALL)


@dataclass(slots=True)
class Answer:
    """The content of a body."""

    value: Any = None
    """The answer: a text, a number, a vector, an object; a list if there are several; None if there is none."""
    texts: tuple[str, ...] = ()
    """The texts that the model wrote as its answer."""
    finish_reason: str | None = None
    """Why the answer ends; of several choices, the reason that matters most."""
    refusal: str | None = None
    """The text of the model's refusal; None if there is none, empty if a filter refused."""
    cut: bool = False
    """Whether the answer ends early."""
    failure: Any = None
    """The error in place of an answer, if there is one."""


def answer_in(body: Any) -> Answer:
    """Return the answer in the body of a response that is a success by its HTTP status."""
    if isinstance(body, str):
        return Answer(body, (body,))
    if not isinstance(body, dict):
        return Answer(body)
    choices = body.get("choices")
    if isinstance(choices, list):
        return _several([_choice(choice) for choice in _by_index(choices)])
    if isinstance(body.get("output"), list | str):
        return _response(body)
    return _payload(body)


def _several(answers: list[Answer]) -> Answer:
    """Return one answer for several choices. If some choices failed, the answer is a cut one."""
    if len(answers) == 1:
        return answers[0]
    failed = [answer for answer in answers if answer.failure is not None]
    reasons = [answer.finish_reason for answer in answers if answer.finish_reason]
    return Answer(
        value=[answer.value or answer.refusal or answer.value for answer in answers] or None,
        texts=tuple(text for answer in answers for text in answer.texts),
        finish_reason=max(reasons, key=_weight, default=None),
        refusal=next((answer.refusal for answer in answers if answer.refusal is not None), None),
        cut=bool(failed) or any(answer.cut for answer in answers),
        failure=failed[0].failure if failed and len(failed) == len(answers) else None,
    )


def _weight(reason: str) -> int:
    """Return how much a reason matters: a refusal more than a cut, a cut more than the usual end."""
    return (reason in _DECLINED) * 4 + (reason in _CUT) * 3 + (reason == "error") * 2 + (reason != "stop")


def _choice(choice: Any) -> Answer:
    """Return the answer in one choice of a chat or a completion."""
    if not isinstance(choice, dict):
        return Answer(choice)
    reason = _word(choice.get("finish_reason"))
    answer = _message(choice["message"]) if choice.get("message") is not None else _text(choice.get("text"))
    answer.finish_reason = reason
    answer.cut = reason in _CUT
    if answer.refusal is None and reason in _DECLINED:
        answer.refusal = ""
    answer.failure = choice.get("error") or ({"code": "error"} if reason == "error" else None)
    return answer


def _message(message: Any) -> Answer:
    """Return the answer in a chat message: its text, tool calls and other values."""
    if not isinstance(message, dict):
        return _text(message)
    words, others, refusals = _content(message.get("content"))
    refusal = message.get("refusal")
    refusals += [refusal] if isinstance(refusal, str) and refusal else []
    beside = {name: value for name, value in message.items() if name not in BESIDE and value}
    texts = ("".join(words),) if words else ()
    value: Any = texts[0] if texts else None
    if beside or others:
        value = {"content": [*texts, *others] if others else value, **beside}
        value = {name: each for name, each in value.items() if each}
    return Answer(value, texts, refusal="\n".join(refusals) if refusals else None)


def _content(content: Any) -> tuple[list[str], list[Any], list[str]]:
    """Return the texts, the other parts, and the refusals in the content of a message."""
    if isinstance(content, str):
        return [_THINKING.sub("", content, count=1) if _THINKING.match(content) else content], [], []
    words: list[str] = []
    others: list[Any] = []
    refusals: list[str] = []
    for part in content if isinstance(content, list) else [content] if content else []:
        kind = _word(part.get("type")) if isinstance(part, dict) else None
        if isinstance(part, str):
            words.append(part)
        elif kind == "refusal":
            refusals.append(str(part.get("refusal") or part.get("text") or ""))
        elif isinstance(part, dict) and kind in _TEXTS and isinstance(part.get("text"), str):
            words.append(part["text"])
        elif kind not in _THOUGHT_PARTS:
            others.append(part)
    return words, others, refusals


def _response(body: dict[str, Any]) -> Answer:
    """Return the answer in a response object: its final messages and calls."""
    details = body.get("incomplete_details")
    reason = _word((details.get("reason") if isinstance(details, dict) else None) or body.get("status"))
    items = body["output"] if isinstance(body["output"], list) else [{"content": body["output"]}]
    messages, calls, steps = [], [], []
    for item in items:
        kind = _word(item.get("type")) if isinstance(item, dict) else None
        if isinstance(item, dict) and kind in (None, "message"):
            messages.append(item)
        elif kind in _STEPS:
            steps.append(item)
        elif kind not in _THOUGHTS:
            calls.append(item)
    final = [item for item in messages if item.get("phase") == "final_answer"]
    answers = [_message(item) for item in final or messages if item.get("phase") != "commentary"]
    values = [answer.value for answer in answers if answer.value not in (None, "")]
    texts = tuple(text for answer in answers for text in answer.texts)
    refusals = [answer.refusal for answer in answers if answer.refusal is not None]
    value: Any = values[0] if len(values) == 1 else values or ("" if texts else None)
    extra = calls or ([] if value or refusals else steps)
    if extra:
        value = {"content": value, "output": extra} if value else {"output": extra}
    declined = reason in _DECLINED
    return Answer(
        value,
        texts,
        finish_reason=reason,
        refusal="\n".join(refusals) if refusals else "" if declined else None,
        cut=not declined and (body.get("status") == "incomplete" or reason in _CUT),
    )


def _payload(body: dict[str, Any]) -> Answer:
    """Return the answer in any other body: all of it except the envelope."""
    data = body.get("data")
    if isinstance(data, list) and data and all(isinstance(item, dict) for item in data):
        for name in ("embedding", "score"):
            if all(name in item for item in data):
                values = [_vector(item[name]) for item in _by_index(data)]
                return Answer(values[0] if len(values) == 1 else values)
    names = [name for name in body if name not in _ENVELOPE]
    if len(names) == 1 and names[0] in ("data", "results", "text"):
        value = body[names[0]]
        return _text(value) if names[0] == "text" else Answer(value)
    return Answer(body)


def _word(value: Any) -> str | None:
    """Return a word, such as a reason or a type, as text."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _text(value: Any) -> Answer:
    return Answer(value, (value,) if isinstance(value, str) else ())


def _by_index(items: list[Any]) -> list[Any]:
    """Return items in the order of their `index`, if each of them has one; else as they are."""
    if not all(isinstance(item, dict) and type(item.get("index")) is int for item in items):
        return items
    return sorted(items, key=lambda item: int(item["index"]))


def _vector(value: Any) -> Any:
    """Return a vector as a list of numbers. Some answers have it in base64: the bytes of 32-bit numbers."""
    if not isinstance(value, str):
        return value
    try:
        numbers = array("f", base64.b64decode(value, validate=True))
    except ValueError:
        return value
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
