"""Parameters that the embedded engine would ignore are refused by name, and supported ones are accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openai_batch.local.api_objects import Refused
from openai_batch.local.engine_requests import check_failure, check_request

CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES = (
    f"/v1/{name}" for name in ("chat/completions", "completions", "embeddings", "responses")
)
FUNCTION = {"name": "f", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": FUNCTION}]


def _user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("endpoint", "body", "param"),
    [
        (CHAT, {"tools": TOOLS}, "tools"),
        (CHAT, {"tool_choice": "required"}, "tool_choice"),
        (CHAT, {"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        (CHAT, {"functions": [FUNCTION]}, "functions"),
        (CHAT, {"function_call": {"name": "f"}}, "function_call"),
        (CHAT, {"n": 2}, "n"),
        (CHAT, {"modalities": ["text", "audio"]}, "modalities"),
        (CHAT, {"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        (CHAT, {"reasoning_effort": "high"}, "reasoning_effort"),
        (CHAT, {"verbosity": "low"}, "verbosity"),
        (CHAT, {"web_search_options": {}}, "web_search_options"),
        (CHAT, {"guided_choice": ["a"]}, "guided_choice"),
        (CHAT, {"messages": _user({"type": "image_url", "image_url": {"url": "data:,"}})}, "messages"),
        (CHAT, {"messages": _user({"type": "input_audio", "input_audio": {}})}, "messages"),
        (CHAT, {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}, "messages"),
        (CHAT, {"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages"),
        (COMPLETIONS, {"echo": True}, "echo"),
        (COMPLETIONS, {"suffix": "x"}, "suffix"),
        (COMPLETIONS, {"best_of": 2}, "best_of"),
        (COMPLETIONS, {"logprobs": 2}, "logprobs"),
        (COMPLETIONS, {"response_format": {"type": "json_object"}}, "response_format"),
        (EMBEDDINGS, {"dimensions": 10}, "dimensions"),
        (RESPONSES, {"tools": [{"type": "web_search"}]}, "tools"),
        (RESPONSES, {"text": {"format": {"type": "json_object"}}}, "text"),
        (RESPONSES, {"background": True}, "background"),
        (RESPONSES, {"previous_response_id": "resp_x"}, "previous_response_id"),
        (RESPONSES, {"conversation": "conv_x"}, "conversation"),
        (RESPONSES, {"prompt": {"id": "p"}}, "prompt"),
        (RESPONSES, {"truncation": "auto"}, "truncation"),
        (RESPONSES, {"top_logprobs": 2}, "top_logprobs"),
        (RESPONSES, {"input": _user({"type": "input_image", "image_url": "data:,"})}, "input"),
        (RESPONSES, {"input": [{"type": "function_call_output", "output": "x"}]}, "input"),
    ],
)
def test_unsupported_parameters_are_refused(endpoint: str, body: dict[str, Any], param: str) -> None:
    """A parameter that the engine would ignore is refused with 400 and its name."""
    with pytest.raises(Refused) as refused:
        check_request(endpoint, json.dumps({"model": "m", **body}).encode())
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (CHAT, {"messages": _user({"type": "text", "text": "x"}), "temperature": 0, "stop": ["a"], "logprobs": True}),
        (CHAT, {"messages": [{"role": "developer", "content": "x"}], "response_format": {"type": "json_object"}}),
        (CHAT, {"tools": [], "tool_choice": "none", "n": 1, "functions": None, "modalities": ["text"], "seed": 1}),
        (CHAT, {"user": "u", "store": False, "metadata": {"a": "b"}, "service_tier": "flex", "stream": True}),
        (COMPLETIONS, {"prompt": ["a", "b"], "echo": False, "best_of": 1, "logprobs": None, "grammar": "root ::= []"}),
        (EMBEDDINGS, {"input": [[1, 2]], "encoding_format": "base64", "dimensions": None, "user": "u"}),
        (RESPONSES, {"input": "x", "instructions": "y", "max_output_tokens": 5, "text": {"format": {"type": "text"}}}),
        (RESPONSES, {"input": [{"role": "assistant", "content": [{"type": "output_text", "text": "x"}]}]}),
        (RESPONSES, {"reasoning": {}, "include": [], "truncation": "disabled", "background": False}),
    ],
)
def test_supported_parameters_are_accepted(endpoint: str, body: dict[str, Any]) -> None:
    """Supported parameters, those that do not change the answer, and default values are accepted."""
    check_request(endpoint, json.dumps({"model": "m", **body}).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b'{"messages":7}', b'{"messages":[7,{"content":[8]}]}', b"\xff"])
def test_malformed_bodies_are_left_to_the_engine(body: bytes) -> None:
    """A malformed body is not refused here."""
    check_request(CHAT, body)


def test_an_input_that_is_too_long_is_refused() -> None:
    """The engine's error for an input that is too long is a refusal, which is not retried; its other errors stay."""
    words = b"input (5001 tokens) is too large to process. increase the physical batch size (current batch size: 2048)"
    with pytest.raises(Refused, match="5,001 tokens, and the embedded engine takes 2,048"):
        check_failure(b'{"error":{"code":500,"message":"%b"}}' % words)
    check_failure(b'{"error":{"code":500,"message":"out of memory"}}')
