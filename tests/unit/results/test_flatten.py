"""What a row says: the answer of every kind of request, its end, its tokens, or its error."""

from __future__ import annotations

import base64
from array import array
from typing import Any

import pytest
from support.sample_results import answered, chat, rows

VECTOR = [0.5, -1.0, 0.25]
PACKED = base64.b64encode(array("f", VECTOR).tobytes()).decode()
RESPONSE = {
    "output": [{"type": "reasoning"}, {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
    "usage": {"input_tokens": 2, "output_tokens": 3},
}
DONE = {"output": [], "status": "completed"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"choices": [{"message": {"content": "Hi"}, "finish_reason": "length"}]}, ("Hi", "length", None, None)),
        ({"choices": [{"text": "Hi"}], "usage": {"prompt_tokens": 0}}, ("Hi", None, 0, None)),
        ({"choices": [{"message": {"content": text}} for text in "ab"]}, (["a", "b"], None, None, None)),
        (RESPONSE, ("Hi", "max_output_tokens", 2, 3)),
        (DONE, ("", "completed", None, None)),
        ({"data": [{"embedding": VECTOR}]}, (VECTOR, None, None, None)),
        ({"data": [{"embedding": PACKED}]}, (VECTOR, None, None, None)),
        ({"data": [{"embedding": "no vector"}]}, ("no vector", None, None, None)),
        ({"data": [{"embedding": [1.5]}, {"embedding": [2.5]}]}, ([[1.5], [2.5]], None, None, None)),
        ({"results": [{"index": 0}]}, ('{"results":[{"index":0}]}', None, None, None)),
        ('{"choices": [{"text": "Hi"}]}', ("Hi", None, None, None)),
    ],
)
def test_each_kind_of_answer_is_read(body: Any, told: tuple[Any, ...]) -> None:
    """Chat, completions, several choices, responses, vectors in numbers or bytes, others, and bodies as strings."""
    (row,) = rows(answered("a", body))
    assert (row["answer"], row["finish_reason"], row["prompt_tokens"], row["completion_tokens"]) == told
    assert row["outcome"] == "success"
    assert row["error_code"] is row["error_message"] is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (answered("a", {"error": {"message": "no", "code": "bad"}}, 400), ("bad", "no")),
        (answered("a", {"error": {"message": "no", "code": None}}, 429), (429, "no")),
        (answered("a", "<html>", 502), (502, "502: <html>")),
        (
            {"custom_id": "a", "response": None, "error": {"code": "batch_expired", "message": "late"}},
            ("batch_expired", "late"),
        ),
        ({"custom_id": "a", "response": None, "error": "broken"}, (None, "broken")),
        ({"custom_id": "a", "response": None, "error": None}, (None, "no response")),
    ],
)
def test_each_kind_of_error_is_read(line: dict[str, Any], told: tuple[Any, ...]) -> None:
    """An error has its code, or else the HTTP status, and its message, wherever the provider wrote them."""
    (row,) = rows(line)
    assert (row["error_code"], row["error_message"]) == told
    assert row["outcome"] == "error"
    assert row["answer"] is None


def test_fields_of_json_answers_are_columns() -> None:
    """With --fields each row has all the fields that any answer has; other answers have none of them."""
    first, second, third, fourth = rows(
        chat("a", '{"label": "good", "score": 0.5}'),
        chat("b", ' {"label": null, "why": {"x": [1]}}'),
        chat("c", "{no JSON"),
        chat("d", "[1]"),
        fields=True,
    )
    names = ["custom_id", "label", "score", "why", "answer"]
    assert all(list(row)[:5] == names for row in (first, second, third, fourth))
    assert [first[name] for name in names[1:4]] == ["good", 0.5, None]
    assert [second[name] for name in names[1:4]] == [None, None, {"x": [1]}]
    assert [third[name] for name in names[1:]] == [None, None, None, "{no JSON"]
    assert fourth["answer"] == "[1]"


def test_without_fields_an_answer_is_one_column() -> None:
    """Answers that are JSON stay text unless their fields are asked for."""
    (row,) = rows(chat("a", '{"label": "good"}'))
    assert row["answer"] == '{"label": "good"}'
    assert "label" not in row


def test_fields_that_are_called_like_columns_get_other_names() -> None:
    """A field never hides a column of the result, nor one that differs by its case alone."""
    (row,) = rows(chat("a", '{"Outcome": 1, "x": 2, "X": 3, "answer_X": 4, "": 5}'), fields=True)
    assert row["outcome"] == "success"
    told = {name: row[name] for name in ("answer_Outcome", "x", "answer_X", "answer_answer_X", "answer_")}
    assert list(told.values()) == [1, 2, 3, 4, 5]
