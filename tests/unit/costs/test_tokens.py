"""The tokens of requests: an estimate, the maximum, and what cannot be counted."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from support.command import request

from openai_batch.costs.tokens import RequestTokens, count_tokens, tokenizer_of


def counted(url: str = "/v1/chat/completions", **body: Any) -> RequestTokens:
    """Count one request."""
    line = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "echo-1", **body}}
    return count_tokens([json.dumps(line).encode()])["echo-1"]


def chat(content: Any, **body: Any) -> RequestTokens:
    """Count one chat."""
    return counted(messages=[{"role": "user", "content": content}], **body)


def test_the_estimate_and_the_maximum() -> None:
    """A text of 400 bytes is about 100 tokens and at most 400, plus a few for the message around it."""
    tokens = chat("x" * 400)
    assert 100 <= tokens.input <= 115
    assert 400 <= tokens.input_at_most == tokens.longest <= 430
    assert tokens.tokenizer is None


def test_the_maximum_counts_bytes_and_not_characters() -> None:
    """The maximum counts the bytes of the text in UTF-8, not the characters or the escapes of the file."""
    assert chat("日" * 100).input_at_most == chat("x" * 300).input_at_most
    assert chat("\n" * 100).input_at_most == chat("x" * 100).input_at_most


def test_tools_and_schemas_count() -> None:
    """Tools and the schema of the answer are counted as input."""
    schema = {"type": "json_schema", "json_schema": {"name": "a" * 400}}
    assert chat("hi", response_format=schema).input > chat("hi").input + 100
    assert chat("hi", tools=[{"type": "function", "function": {"name": "b" * 400}}]).input > chat("hi").input + 100
    limits = {"type": "function", "function": {"parameters": {"maximum": 123456789, "exact": True}}}
    keys = sum(map(len, ("typefunctionfunctionparameters", "maximum", "exact")))
    assert chat("hi", tools=[limits]).input_at_most >= chat("hi").input_at_most + keys + len("123456789true")


def test_tokens_as_input_count_as_they_are() -> None:
    """Each token number in the input of an embedding counts as one token, also in nested lists."""
    assert counted("/v1/embeddings", input=[1, 2, 3]).input == counted("/v1/embeddings", input=[]).input + 3
    assert counted("/v1/embeddings", input=[[1, 2], [3]]).input == counted("/v1/embeddings", input=[]).input + 3


@pytest.mark.parametrize(
    ("url", "body", "limit"),
    [
        ("/v1/chat/completions", {"max_tokens": 7}, 7),
        ("/v1/chat/completions", {"max_completion_tokens": 9, "max_tokens": 7}, 9),
        ("/v1/chat/completions", {"max_tokens": 7, "n": 3}, 21),
        ("/v1/completions", {"max_tokens": 7, "prompt": ["a", "b"], "best_of": 2}, 28),
        ("/v1/completions", {"max_tokens": 7, "prompt": [1, 2, 3]}, 7),
        ("/v1/responses", {"max_output_tokens": 5, "input": "x"}, 5),
        ("/v1/embeddings", {"input": "x"}, 0),
    ],
)
def test_the_limit_of_an_answer(url: str, body: dict[str, Any], limit: int) -> None:
    """The parameter of the endpoint limits the output, for each choice and prompt."""
    tokens = counted(url, **body)
    assert (tokens.output_at_most, tokens.unlimited) == (limit, 0)


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"max_output_tokens": 5}),
        ("/v1/chat/completions", {"max_tokens": None}),
        ("/v1/chat/completions", {"max_tokens": 5, "n": "100"}),
        ("/v1/chat/completions", {"max_tokens": 5, "n": 1e3}),
        ("/v1/chat/completions", {"max_tokens": 5, "max_completion_tokens": "1000"}),
        ("/v1/chat/completions", {"max_tokens": -5}),
        ("/v1/chat/completions", {"max_tokens": 10**30}),
        ("/v1/responses", {"max_tokens": 5, "input": "x"}),
        ("/v1/images/generations", {"prompt": "x"}),
    ],
)
def test_no_limit(url: str, body: dict[str, Any]) -> None:
    """A parameter that the endpoint does not read, or that is not a plausible number, is not a limit."""
    assert counted(url, **body).unlimited == 1


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        {"input": "x", "tools": [{"type": "web_search"}]},
        {"input": "x", "previous_response_id": "resp_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"messages": [], "web_search_options": {"search_context_size": "low"}},
    ],
)
def test_what_cannot_be_counted(body: dict[str, Any]) -> None:
    """Requests with images, files, hosted tools or stored prompts are counted as unknown."""
    assert counted(**body).uncounted == 1
    assert chat("plain", tools=[{"type": "function", "function": {"name": "f"}}]).uncounted == 0


def test_models_are_counted_apart() -> None:
    """Each model has its own sum."""
    lines = [json.dumps(request(f"r{n}", f"m{n % 2}", max_tokens=n)).encode() for n in range(6)]
    found = count_tokens(lines)
    assert [(each.requests, each.output_at_most) for each in found.values()] == [(3, 6), (3, 9)]


def test_nothing_is_downloaded_to_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Without the tokenizer file on this machine the input is estimated, and no connection is made."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))

    def refuse(*_: object) -> None:
        pytest.fail("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    tokenizer_of.cache_clear()
    assert tokenizer_of("gpt-4o-mini") is None
    assert tokenizer_of("no-such-model") is None
