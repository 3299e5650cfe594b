"""The answers of the provider in the examples of the documentation."""

from __future__ import annotations

import json
from typing import Any

from openai_batch.testing import Failure, Refusal
from openai_batch.testing.answers import result_line

_CAPITALS = {"France": "Paris", "Peru": "Lima", "Kenya": "Nairobi", "Japan": "Tokyo", "Canada": "Ottawa"}
_FRENCH = {"first": "premier", "second": "deuxième", "Good morning": "Bonjour", "Thank you": "Merci"}
_BAD = ("poor", "broken", "late", "waste", "stopped", "never")
_LIMITED = "overloaded"


class Model:
    """Answers each request; a request whose text contains `_LIMITED` fails once."""

    def __init__(self) -> None:
        self._failed: set[str] = set()

    def __call__(self, request: dict[str, Any]) -> Any:
        """Return the answer to a request, with a realistic number of tokens."""
        answer = self._answer(request)
        body = result_line(request, answer)["response"]["body"]
        if "usage" not in body or isinstance(answer, Failure):
            return answer
        texts = request["body"].get("messages") or [{"content": request["body"].get("input", "")}]
        asked = sum(7 + len(str(each["content"])) // 4 for each in texts)
        made = 0 if "embedding" in request["url"] else 1 + len(str(answer)) // 5
        usage = {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}
        return body | {"usage": usage}

    def _answer(self, request: dict[str, Any]) -> Any:
        body = request["body"]
        if request["url"].endswith("/embeddings"):
            return [round(len(str(body["input"])) / 100, 2), 0.25, -0.5]
        messages = body.get("messages") or [{"content": body.get("input", "")}]
        content = messages[-1]["content"]
        if isinstance(content, list):
            return "A red square."
        text = str(content)
        if _LIMITED in text and text not in self._failed:
            self._failed.add(text)
            return Failure(429, "Rate limit reached", "rate_limit_exceeded")
        if "password" in text:
            return Refusal("I cannot help with that.")
        mood = "bad" if any(word in text.lower() for word in _BAD) else "good"
        if "response_format" in body:
            why = "it does not do what it should" if mood == "bad" else "it does what it should"
            return json.dumps({"sentiment": mood, "reason": why})
        known = {**_CAPITALS, **_FRENCH}
        return next((answer for word, answer in known.items() if word in text), mood)
