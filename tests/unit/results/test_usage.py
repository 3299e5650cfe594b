"""The tokens that results used, as providers count them."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import pytest

from openai_batch.results.index import Places, index
from openai_batch.results.statistics import count_name
from openai_batch.results.tally import Tally
from openai_batch.results.usage import MAX_MODELS, OTHERS, ModelUsage, Usage

CHAT = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 12},
}
RESPONSES = {
    "input_tokens": 100,
    "output_tokens": 20,
    "input_tokens_details": {"cached_tokens": 64},
    "output_tokens_details": {"reasoning_tokens": 12},
}


def line(usage: Any, *, model: Any = "m", status: int = 200, **body: Any) -> str:
    """Write a result line."""
    content = {"object": "x", "choices": [{"message": {"content": "a"}}], "model": model, "usage": usage, **body}
    row = {"custom_id": str(usage) + str(body), "response": {"status_code": status, "body": content}, "error": None}
    return json.dumps(row)


def used(*lines: str) -> Usage:
    """Read result lines as a provider's file has them."""
    places = Places()
    index(io.BytesIO("".join(f"{each}\n" for each in lines).encode()), 0, "f", places, Tally())
    return places.usage


@pytest.mark.parametrize("usage", [CHAT, RESPONSES])
def test_the_fields_of_each_endpoint(usage: Any) -> None:
    """The usage fields of chats and responses, which have different names, are read."""
    assert used(line(usage)) == {"m": ModelUsage(1, 0, 100, 64, 20, 12, 100)}


def test_a_line_read_by_itself_counts_the_same() -> None:
    """Tokens of cut and refused results, which are read one by one, are counted; errors without usage are not."""
    cut = line(CHAT, choices=[{"finish_reason": "length", "message": {"content": "a"}}])
    failed = json.dumps({"custom_id": "f", "response": {"status_code": 500, "body": {"error": {"message": "x"}}}})
    assert used(line(CHAT), cut, failed) == {"m": ModelUsage(2, 0, 200, 128, 40, 24, 100)}
    assert used(line(CHAT), line(CHAT, a=1), "not json") == {"m": ModelUsage(2, 0, 200, 128, 40, 24, 100)}


def test_a_billed_error_is_counted() -> None:
    """The tokens of a failed request are counted."""
    assert used(line(CHAT, status=500))["m"].results == 1


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": 0}, {"prompt_tokens": "7"}, {"prompt_tokens": True}, [1]]
)
def test_an_answer_without_tokens_is_not_counted(usage: Any) -> None:
    """An answer without a token count is counted as unknown, not as 0 tokens."""
    assert used(line(usage)) == {"m": ModelUsage(uncounted=1)}


def test_audio_has_its_own_prices() -> None:
    """Results with audio tokens are counted as unknown, because their price is not that of text."""
    assert used(line(CHAT | {"completion_tokens_details": {"audio_tokens": 5}}))["m"].uncounted == 1


def test_implausible_usage_is_limited() -> None:
    """Implausible counts, long names and many models give a sum of limited size."""
    huge = line({"prompt_tokens": 10**30, "completion_tokens": 3})
    assert used(huge) == {"m": ModelUsage(1, 0, 0, 0, 3, 0, 0)}
    odd = line(CHAT, model="\ud83d" + "x" * 1000)
    (name,) = used(odd)
    assert name is not None
    assert len(name) == 200
    many = used(*(line(CHAT, model=f"m{n}") for n in range(300)))
    assert (len(many), many[OTHERS].results) == (MAX_MODELS + 1, 200)


def test_usage_is_summed_for_each_model() -> None:
    """Tokens are added up for each model, and those of results without a model name together."""
    lines = (line(CHAT), line({"total_tokens": 5}, model="n"), line(CHAT, model=None), line(CHAT, model=7))
    assert {name: each.input for name, each in used(*lines).items()} == {"m": 100, "n": 5, None: 200}


@pytest.mark.parametrize("wrong", ["-5", "9" * 30, "9223372036854775807", "1e308", "true", '"12"', "[1]", "9" * 4000])
def test_implausible_token_counts_are_not_added_up(wrong: str) -> None:
    """Only plausible token counts are added up."""
    lines = [
        f'{{"custom_id":"{name}","response":{{"status_code":200,"body":{{"model":"m","choices":[{{"message":'
        f'{{"content":"a"}}}}],"usage":{{"prompt_tokens":{count},"completion_tokens":3}}}}}}}}'
        for name, count in (("a", wrong), ("b", "4"))
    ]
    found = used(*lines)["m"]
    assert found.input == 4
    assert found.output in (3, 6)


def test_the_names_that_a_server_sends_are_cut() -> None:
    """The number and the length of the names that a server sends are limited."""
    names = Counter[str]()
    for number in range(200):
        count_name(names, f"{number}" + "x" * 10_000)
    assert len(names) == 101
    assert max(map(len, names)) == 200
