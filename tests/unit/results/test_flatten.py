"""The row of a result: the answer, the finish reason, the tokens, or the error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.sample_results import answered, chat, exported, rows

from openai_batch.results.export import Export


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (answered("a", {"error": {"message": "no", "code": "bad"}}, 400), ("bad", "no")),
        (answered("a", {"error": {"message": "no", "code": None}}, 429), (429, "no")),
        (answered("a", "<html>", 502), (502, "<html>")),
        (
            {"custom_id": "a", "response": None, "error": {"code": "batch_expired", "message": "late"}},
            ("batch_expired", "late"),
        ),
        ({"custom_id": "a", "response": None, "error": "broken"}, (None, "broken")),
    ],
)
def test_each_kind_of_error_is_read(line: dict[str, Any], told: tuple[Any, ...]) -> None:
    """An error has its message, and its code or else the HTTP status, wherever the provider put them."""
    (row,) = rows(line)
    assert (row["error_code"], row["error_message"]) == told
    assert row["outcome"] == "error"
    assert row["answer"] is None


def test_fields_of_json_answers_are_columns() -> None:
    """With `--fields` each row has a column for every field of any answer, empty if its answer lacks it."""
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
    """Without `--fields` an answer that is JSON stays text."""
    (row,) = rows(chat("a", '{"label": "good"}'))
    assert row["answer"] == '{"label": "good"}'
    assert "label" not in row


def test_fields_with_names_of_columns_get_other_names() -> None:
    """A field with the name of a column gets another name, also if it differs only in case."""
    (row,) = rows(chat("a", '{"Outcome": 1, "x": 2, "X": 3, "answer_X": 4, "": 5}'), fields=True)
    assert row["outcome"] == "success"
    told = {name: row[name] for name in ("answer_Outcome", "x", "answer_X", "answer_answer_X", "answer_")}
    assert list(told.values()) == [1, 2, 3, 4, 5]


def test_the_fields_of_what_the_model_wrote() -> None:
    """Code fences and drafts are ignored; other kinds of answers have no fields; answers without fields are counted."""
    draft = {"type": "message", "content": [{"type": "output_text", "text": '{"n": 1, "x'}]}
    whole = {"type": "message", "content": [{"type": "output_text", "text": '{"n": 2}'}]}
    lines = [
        chat("a", '```json\n{"n": 1}\n```'),
        answered("b", {"output": [draft, whole]}),
        answered("c", {"choices": [{"message": {"content": None, "refusal": '{"n": 3}'}}]}),
        answered("d", {"choices": [{"message": {"tool_calls": [{"n": 4}]}}]}),
        answered("e", {"results": [{"n": 5}]}),
        answered("f", {"error": {"message": "no"}}, 500),
        chat("g", '{"n": NaN}'),
        chat("h", '{"n": 6'),
    ]
    export = Export("rows", fields=True)
    found = [json.loads(line) for line in exported(export, lines).splitlines()]
    assert [row["n"] for row in found] == [1, 2, None, None, None, None, None, None]
    assert export.without_fields == 3
