"""What a fake provider answers, as the result line of a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from openai_batch.requests.plain_values import plain_value

AnswerFunction: TypeAlias = Callable[[dict[str, Any]], Any]
"""Gets a request (`custom_id`, `url`, `body`), and returns its answer (see `result_line`)."""

_OK = 200
_RESPONSES = "/responses"


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that fails."""

    status: int = 500
    """The HTTP status."""
    message: str = "the fake provider was told to fail"
    code: str | None = None
    """The provider's code, such as "rate_limit_exceeded"."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the model refuses, with this text."""

    text: str = "I cannot help with that"


@dataclass(frozen=True, slots=True)
class Cut:
    """An answer that ends early, at the limit of tokens."""

    text: str


def result_line(request: dict[str, Any], answer: Any) -> dict[str, Any]:
    """Return the result line for an answer.

    An answer is a text; a list or an array of numbers, for an embedding; a Failure, a Refusal or a Cut; a mapping,
    which is the whole body of the response; or another value, which becomes JSON text.
    """
    custom_id = request["custom_id"]
    answer = plain_value(answer)
    if isinstance(answer, Failure):
        error = {"message": answer.message, "type": "error", "code": answer.code}
        return _line(custom_id, answer.status, {"error": error})
    if isinstance(answer, Mapping):
        return _line(custom_id, _OK, dict(answer))
    url, model = request["url"], request["body"].get("model", "fake")
    if url.endswith("/embeddings"):
        vector = list(answer) if isinstance(answer, list | tuple) else [float(len(str(answer))), 0.0, 1.0]
        data = [{"object": "embedding", "index": 0, "embedding": vector}]
        usage: dict[str, int] = {"prompt_tokens": 1, "total_tokens": 1}
        return _line(custom_id, _OK, {"object": "list", "model": model, "data": data, "usage": usage})
    make = _response if url.endswith(_RESPONSES) else _chat if "chat" in url else _completion
    return _line(custom_id, _OK, {"id": f"fake-{custom_id}", "model": model, **make(answer)})


def _line(custom_id: str, status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": custom_id, "response": {"status_code": status, "body": body}, "error": None}


def _text(answer: Any) -> str:
    text = answer.text if isinstance(answer, Cut | Refusal) else answer
    return text if isinstance(text, str) else json.dumps(text)


def _chat(answer: Any) -> dict[str, Any]:
    refused = isinstance(answer, Refusal)
    message = {
        "role": "assistant",
        "content": None if refused else _text(answer),
        "refusal": _text(answer) if refused else None,
    }
    reason = "length" if isinstance(answer, Cut) else "stop"
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choice = {"index": 0, "finish_reason": reason, "message": message}
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


def _completion(answer: Any) -> dict[str, Any]:
    reason = "length" if isinstance(answer, Cut) else "content_filter" if isinstance(answer, Refusal) else "stop"
    return {"object": "text_completion", "choices": [{"index": 0, "finish_reason": reason, "text": _text(answer)}]}


def _response(answer: Any) -> dict[str, Any]:
    kind = {"type": "refusal", "refusal": _text(answer)}
    part = kind if isinstance(answer, Refusal) else {"type": "output_text", "text": _text(answer), "annotations": []}
    cut = isinstance(answer, Cut)
    return {
        "object": "response",
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [{"type": "message", "role": "assistant", "content": [part]}],
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
    }
