"""The fast way to read a plain success gives the same result as the full one, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_batch.results.flatten import flat
from openai_batch.results.plain_success import plain_row, verdict_of
from openai_batch.results.result import Result

MESSAGE = {"role": "assistant", "content": "yes", "refusal": None}
PLAIN: dict[str, Any] = {
    "id": "r",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop", "logprobs": None}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3},
}
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [None, "", "yes", "<think>no</think>yes", " <b>", [], {}, 0, 7, -1.5, True, False, "error", "failed"]
    ),
    st.sampled_from(
        [[{"type": "text", "text": "a"}], {"code": "x"}, [{"id": "c"}], "stop", "length", "content_filter"]
    ),
)
PLACES = ["choices", "error", "status", "success", "object", "usage", "model", "output", "data", "incomplete_details"]
IN_CHOICE = ["message", "finish_reason", "error", "text", "index"]
IN_MESSAGE = ["content", "refusal", "tool_calls", "audio", "reasoning", "thinking", "images", "role", "annotations"]


def line(body: Any, status: Any = 200, error: Any = None, custom_id: Any = "a") -> bytes:
    """Write a result line."""
    row = {"id": "1", "custom_id": custom_id, "response": {"status_code": status, "body": body}, "error": error}
    return json.dumps(row).encode()


def with_message(**changed: Any) -> dict[str, Any]:
    """Return the body with another message."""
    return {**PLAIN, "choices": [{"index": 0, "message": MESSAGE | changed, "finish_reason": "stop"}]}


def test_a_plain_success() -> None:
    """The most common kind of line is read."""
    row = plain_row(line(PLAIN))
    assert row == ("a", "yes", ("yes", "stop", "m", 3, 0, "success", None, None))
    assert plain_row(line(with_message(tool_calls=[], annotations=[], reasoning="so"))) is not None


@given(
    st.dictionaries(st.sampled_from(PLACES), VALUES, max_size=2),
    st.dictionaries(st.sampled_from(IN_CHOICE), VALUES, max_size=2),
    st.dictionaries(st.sampled_from(IN_MESSAGE), VALUES, max_size=2),
    st.sampled_from([200, 200, "200", 200.0, 201, 500, None]),
    st.one_of(st.none(), VALUES),
)
def test_an_unusual_line_is_read_the_same_or_not_at_all(
    in_body: dict[str, Any], in_choice: dict[str, Any], in_message: dict[str, Any], status: Any, error: Any
) -> None:
    """If a line differs from a plain success, its row equals that of the full result, or there is none."""
    choice = {"index": 0, "message": MESSAGE | in_message, "finish_reason": "stop"} | in_choice
    made = line({**PLAIN, "choices": [choice]} | in_body, status, error)
    row, result = plain_row(made), Result.of(made)
    assert verdict_of(made, Result.of) == result.verdict
    if row is not None:
        assert (row.custom_id, row.values, (row.answer,)) == (result.custom_id, flat(result), result.texts)
        assert result.ok


@pytest.mark.parametrize(
    "made",
    [
        b"",
        b"{}",
        b'{"custom_id": "a", "response": null}',
        line(PLAIN, custom_id=7),
        line({**PLAIN, "choices": PLAIN["choices"] * 2}),
        line(with_message(content=None, tool_calls=[{"id": "c"}])),
        line(with_message(content="<think>hm</think> yes")),
        line(with_message(images=["a"])),
        line({**PLAIN, "object": "error"}),
        line(json.dumps(PLAIN)),
    ],
)
def test_other_lines_are_not_plain_successes(made: bytes) -> None:
    """A line that is not a plain success gives no row."""
    assert plain_row(made) is None
