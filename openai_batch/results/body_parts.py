"""Other parts of a response's body: choices, tool calls, reasoning."""

from __future__ import annotations

from typing import Any

_REASONING = ("reasoning_content", "reasoning", "thinking")


def choices_in(body: Any) -> list[dict[str, Any]]:
    """Return the choices of a chat or a completion, in the order of their `index`."""
    choices = _dicts(body.get("choices")) if isinstance(body, dict) else []
    return sorted(choices, key=lambda choice: index if isinstance(index := choice.get("index"), int) else 0)


def tool_calls_in(body: Any) -> list[dict[str, Any]]:
    """Return the tool calls of all choices, or of a response's output, as the provider sent them."""
    calls = [call for message in _messages(body) for call in _dicts(message.get("tool_calls"))]
    return calls + [item for item in _output(body) if item.get("type") in ("function_call", "custom_tool_call")]


def reasoning_in(body: Any) -> str | None:
    """Return the text of the model's reasoning; None if there is none."""
    texts = []
    for message in _messages(body):
        texts += [message[name] for name in _REASONING if isinstance(message.get(name), str)][:1]
    for item in _output(body):
        if item.get("type") == "reasoning":
            texts += [part.get("text") for name in ("content", "summary") for part in _dicts(item.get(name))]
    found = [text for text in texts if isinstance(text, str) and text]
    return "\n".join(found) or None


def _messages(body: Any) -> list[dict[str, Any]]:
    return _dicts([choice.get("message") for choice in choices_in(body)])


def _output(body: Any) -> list[dict[str, Any]]:
    return _dicts(body.get("output")) if isinstance(body, dict) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
