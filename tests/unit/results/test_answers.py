"""The answer in the body of every kind of request is what the model wrote, and nothing else."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sample_results import answered, rows

from openai_batch.results.flatten import flat
from openai_batch.results.result import Result

VECTOR = [0.5, -1.0, 0.25]
PACKED = base64.b64encode(array("f", VECTOR).tobytes()).decode()
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def chat(message: Any, reason: Any = "stop", **more: Any) -> dict[str, Any]:
    """Return the body of a chat completion with one choice."""
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": reason} | more]}


def response(*items: Any, **more: Any) -> dict[str, Any]:
    """Return a response object with these output items."""
    return {"object": "response", "status": "completed", "output": list(items)} | more


def message(*texts: str, **more: Any) -> dict[str, Any]:
    """Return a message of a response object."""
    return {"type": "message", "content": [{"type": "output_text", "text": text} for text in texts]} | more


def as_json(**value: Any) -> str:
    """Return the JSON of a cell."""
    return json.dumps(value, separators=(",", ":"))


REASONING = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "content": [{"text": "Hm."}]}
FUNCTION = {"type": "function_call", "name": "f", "arguments": "{}"}
SEARCH = {"type": "web_search_call", "status": "completed"}
FINAL = message("Yes", phase="final_answer")

ANSWERS: dict[str, tuple[Any, Any, str, str | None]] = {
    # The name of the case: the body, the cell, the outcome, the finish reason.
    "text": (chat({"content": "Hi"}), "Hi", "success", "stop"),
    "empty text": (chat({"content": ""}), "", "success", "stop"),
    "no text": (chat({"content": None, "refusal": None}), None, "success", "stop"),
    "cut": (chat({"content": "Hi"}, "length"), "Hi", "cut", "length"),
    "cut before a word": (chat({"content": None, "reasoning": "Hm"}, "length"), None, "cut", "length"),
    "refusal": (chat({"content": None, "refusal": "No."}), "No.", "refused", "stop"),
    "filtered": (chat({"content": "Hal"}, "content_filter"), "Hal", "refused", "content_filter"),
    "filtered, no words": (chat({"role": "assistant"}, "content_filter"), None, "refused", "content_filter"),
    "refusal part": (chat({"content": [{"type": "refusal", "refusal": "No."}]}), "No.", "refused", "stop"),
    "tool calls": (
        chat({"content": "", "tool_calls": [CALL]}, "tool_calls"),
        as_json(tool_calls=[CALL]),
        "success",
        "tool_calls",
    ),
    "text and calls": (
        chat({"content": "Look", "tool_calls": [CALL]}, "tool_calls"),
        as_json(content="Look", tool_calls=[CALL]),
        "success",
        "tool_calls",
    ),
    "old function call": (
        chat({"content": None, "function_call": {"name": "f"}}, "function_call"),
        as_json(function_call={"name": "f"}),
        "success",
        "function_call",
    ),
    "empty calls": (chat({"content": "Hi", "tool_calls": [], "audio": None}), "Hi", "success", "stop"),
    "audio": (chat({"content": None, "audio": {"data": "AA"}}), as_json(audio={"data": "AA"}), "success", "stop"),
    "picture part": (
        chat({"content": [{"type": "text", "text": "See"}, PICTURE]}),
        as_json(content=["See", PICTURE]),
        "success",
        "stop",
    ),
    "parts of text": (chat({"content": [{"type": "text", "text": "H"}, {"text": "i"}]}), "Hi", "success", "stop"),
    "thinking part": (
        chat({"content": [{"type": "thinking", "thinking": [{"text": "Hm"}]}, {"type": "text", "text": "Hi"}]}),
        "Hi",
        "success",
        "stop",
    ),
    "reasoning beside": (
        chat({"content": "Hi", "reasoning_content": "Hm", "reasoning": "Hm"}),
        "Hi",
        "success",
        "stop",
    ),
    "reasoning before": (chat({"content": "<think>\nHm\n</think>\n\nHi"}), "Hi", "success", "stop"),
    "a tag that is the answer": (chat({"content": "Use <think>x</think>"}), "Use <think>x</think>", "success", "stop"),
    "reason as an object": (chat({"content": "Hi"}, {"type": "stop"}), "Hi", "success", '{"type":"stop"}'),
    "error in the choice": (
        chat({"content": "H"}, "error", error={"code": 502, "message": "gone"}),
        None,
        "error",
        None,
    ),
    "completion": ({"choices": [{"text": "Hi", "finish_reason": "stop"}]}, "Hi", "success", "stop"),
    "choices by index": (
        {
            "choices": [
                {"index": 1, "text": "b", "finish_reason": "length"},
                {"index": 0, "text": "a", "finish_reason": "stop"},
            ]
        },
        ["a", "b"],
        "cut",
        "length",
    ),
    "one choice of two failed": (
        {
            "choices": [
                {"text": "a", "finish_reason": "stop"},
                {"text": "", "finish_reason": "error", "error": {"code": 1}},
            ]
        },
        ["a", ""],
        "cut",
        "error",
    ),
    "one choice of two refused": (
        {"choices": [{"message": {"content": "a"}}, {"message": {"refusal": "No."}, "finish_reason": "stop"}]},
        ["a", "No."],
        "refused",
        "stop",
    ),
    "no choices": ({"object": "chat.completion", "choices": []}, None, "success", None),
    "response": (response(REASONING, message("Hi")), "Hi", "success", "completed"),
    "parts of a message": (response(message("H", "i")), "Hi", "success", "completed"),
    "two messages": (response(message("a"), message("b")), ["a", "b"], "success", "completed"),
    "commentary": (response(message("Hm", phase="commentary"), FINAL), "Yes", "success", "completed"),
    "unmarked beside final": (response(message("Hm"), FINAL), "Yes", "success", "completed"),
    "function call": (response(REASONING, FUNCTION), as_json(output=[FUNCTION]), "success", "completed"),
    "text and function call": (
        response(message("Look"), FUNCTION),
        as_json(content="Look", output=[FUNCTION]),
        "success",
        "completed",
    ),
    "search": (response(SEARCH, message("Found")), "Found", "success", "completed"),
    "search alone": (response(SEARCH), as_json(output=[SEARCH]), "success", "completed"),
    "picture": (
        response({"type": "image_generation_call", "result": "AA=="}),
        as_json(output=[{"type": "image_generation_call", "result": "AA=="}]),
        "success",
        "completed",
    ),
    "refusal in a response": (
        response({"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}),
        "No.",
        "refused",
        "completed",
    ),
    "cut response": (
        response(message("H"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        "H",
        "cut",
        "max_output_tokens",
    ),
    "filtered response": (
        response(status="incomplete", incomplete_details={"reason": "content_filter"}),
        None,
        "refused",
        "content_filter",
    ),
    "text for a message": (response({"type": "message", "content": "Hi"}), "Hi", "success", "completed"),
    "no output": (response(), None, "success", "completed"),
    "vector": ({"data": [{"index": 0, "embedding": VECTOR}]}, VECTOR, "success", None),
    "packed vector": ({"data": [{"index": 0, "embedding": PACKED}]}, VECTOR, "success", None),
    "vector in words": ({"data": [{"embedding": "no vector"}]}, "no vector", "success", None),
    "vectors by index": (
        {"data": [{"index": 1, "embedding": [2.5]}, {"index": 0, "embedding": [1.5]}]},
        [[1.5], [2.5]],
        "success",
        None,
    ),
    "score": ({"data": [{"index": 0, "object": "score", "score": 0.9}]}, 0.9, "success", None),
    "scores": ({"data": [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}]}, [0.1, 0.9], "success", None),
    "rerank": (
        {"id": "r", "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]},
        '[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}]',
        "success",
        None,
    ),
    "moderation": ({"id": "m", "model": "o", "results": [{"flagged": True}]}, '[{"flagged":true}]', "success", None),
    "pictures": ({"created": 1, "data": [{"url": "https://x"}]}, '[{"url":"https://x"}]', "success", None),
    "transcription": ({"text": "Hello.", "usage": {"seconds": 1}}, "Hello.", "success", None),
    "transcription with times": ({"text": "Hi", "segments": [1]}, as_json(text="Hi", segments=[1]), "success", None),
    "plain text": ("1\n00:00 --> 00:01\nHi\n", "1\n00:00 --> 00:01\nHi\n", "success", None),
    "JSON in a string": (json.dumps(chat({"content": "Hi"})), "Hi", "success", "stop"),
    "a string in a string": ('"Hi"', "Hi", "success", None),
    "something else": ({"id": "x", "answer": 1}, as_json(id="x", answer=1), "success", None),
    "a list": ([{"index": 0}], '[{"index":0}]', "success", None),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_each_kind_of_answer(name: str) -> None:
    """A cell contains the final text, or other values as JSON; the outcome and finish reason are other columns."""
    body, cell, outcome, reason = ANSWERS[name]
    (row,) = rows(answered("a", body))
    assert (row["answer"], row["outcome"]) == (cell, outcome)
    if outcome != "error":
        assert row["finish_reason"] == reason
        assert row["error_code"] is row["error_message"] is None


def test_a_result_has_the_answer_as_value_and_texts() -> None:
    """A Result has the answer as a value, as text, and as the texts that the model wrote."""
    result = Result.of(json.dumps(answered("a", chat({"content": "Look", "tool_calls": [CALL]}))).encode())
    assert result.answer == {"content": "Look", "tool_calls": [CALL]}
    assert result.text == as_json(content="Look", tool_calls=[CALL])
    assert (result.texts, result.refusal, result.error) == (("Look",), None, None)
    refused = Result.of(json.dumps(answered("a", chat({"refusal": "No."}))).encode())
    assert (refused.text, refused.refusal, refused.error, refused.ok) == (None, "No.", None, False)
    declined = Result.of(
        json.dumps(answered("a", {"error": {"code": "content_filter", "message": "No."}}, 400)).encode()
    )
    assert (declined.refusal, declined.status_code) == ("No.", 400)
    assert declined.error is not None
    assert (declined.error.code, declined.error.message, declined.error.retryable) == ("content_filter", "No.", False)


NAMES = (
    "choices",
    "message",
    "content",
    "output",
    "type",
    "text",
    "data",
    "index",
    "embedding",
    "score",
    "error",
    "code",
)
MORE = (
    "finish_reason",
    "refusal",
    "status",
    "detail",
    "loc",
    "msg",
    "usage",
    "incomplete_details",
    "phase",
    "innererror",
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "stop", "refusal", "text", "x"])
ODD = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES + MORE), inner, max_size=4),
    max_leaves=15,
)


@given(body=ODD, error=ODD, status=st.sampled_from([200, 200, 200, 400, "200", None, 1.5]))
def test_random_bodies_are_read_without_a_crash(body: Any, error: Any, status: Any) -> None:
    """Any body and error gives an outcome, a row and a text."""
    for told in (None, error):
        line = {"custom_id": "a", "response": {"status_code": status, "body": body}, "error": told}
        result = Result.of(json.dumps(line).encode())
        json.dumps(flat(result))
        assert isinstance(result.text, str | None)
        assert isinstance(result.summary, str)
        assert result.verdict.outcome is result.outcome
        assert bool(result.verdict.cause) != result.ok
