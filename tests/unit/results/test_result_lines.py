"""What a provider sends is read tolerantly where it is strange, and not believed where it is no result."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plan import bad_row, expired_row, good_row

from openai_batch.errors import DownloadError
from openai_batch.providers.batch_info import BatchFault, Counts, read_batch
from openai_batch.results import index as module
from openai_batch.results.index import Place, as_received, index
from openai_batch.results.merge import complete, rows_in_order
from openai_batch.results.result_line import Response, answer_text, judge, read_line
from openai_batch.results.tally import Tally

OK = {"choices": [{"message": {"content": "hi"}}]}


@pytest.mark.parametrize(
    ("response", "error", "success", "cause"),
    [
        (Response(200, OK), None, True, ""),
        (Response(201, {}), None, True, ""),
        (Response(200, None), None, True, ""),
        (Response(200, json.dumps(OK)), None, True, ""),
        (Response(200, {"error": None}), None, True, ""),
        (Response(200, OK), {}, True, ""),
        (Response(200, {"error": {"message": "no"}}), None, False, "200: no"),
        (Response(200, "not json"), None, False, "the body is not JSON"),
        (Response(400, {"error": {"message": "bad  \n request"}}), None, False, "400: bad request"),
        (Response(500, {}), None, False, "500"),
        (Response(429, '{"error": {"message": "slow down"}}'), None, False, "429: slow down"),
        (Response(429, "slow down"), None, False, "429"),
        (Response(0, {}), None, False, "unknown error"),
        (Response(None, OK), None, False, "unknown error"),
        (Response("200", OK), None, False, "200"),
        (Response(200, OK), {"code": "x", "message": "y"}, False, "x: y"),
        (None, {"code": "batch_expired", "message": "too late"}, False, "batch_expired: too late"),
        (None, "broken", False, "broken"),
        (None, ["broken"], False, "['broken']"),
        (None, None, False, "no response"),
    ],
)
def test_success_needs_no_error_a_2xx_and_a_body_without_one(
    response: Response | None, error: Any, success: bool, cause: str
) -> None:
    """Every way in which a line can be a success or an error, with what is said of it."""
    judged, told, _ = judge(response, error)
    assert judged is success
    assert told.startswith(cause) if cause in ("429", "200") else told == cause


def merged(*files: bytes, ids: list[str] | None) -> tuple[list[dict[str, Any]], Tally]:
    """Index files and put them into order."""
    places: dict[str, Place] = {}
    tally = Tally()
    streams: list[Any] = [io.BytesIO(data) for data in files]
    for number, stream in enumerate(streams):
        index(stream, number, "f", places, tally)
    if ids is None:
        rows = list(as_received(streams, places, tally))
    else:
        rows = list(complete(ids, rows_in_order(enumerate(ids), streams, places, tally), tally))
    assert all(row.endswith(b"\n") and b"\r" not in row for row in rows)
    return [json.loads(row) for row in rows], tally


def jsonl(*rows: Any, end: str = "\n") -> bytes:
    """Write rows as lines."""
    return "".join(json.dumps(row) + end for row in rows).encode()


def test_the_union_of_the_files_in_input_order() -> None:
    """One row an id from both files; a success beats an error, strangers are left out, the missing are named."""
    output = jsonl(good_row("c"), good_row("a"), good_row("a"), good_row("x"), end="\r\n").rstrip()
    errors = jsonl(bad_row("a"), expired_row("b"), bad_row("c"))
    rows, tally = merged(output, errors, ids=["a", "b", "c", "d"])
    assert [row["custom_id"] for row in rows] == ["a", "b", "c"]
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert (tally.requests, tally.succeeded, tally.failed, tally.missing) == (4, 2, 1, ["d"])
    assert (tally.unknown_ids, tally.repeats) == (1, 3)
    assert tally.causes == {"batch_expired: the window has passed": 1}
    assert not tally.complete


def test_an_error_that_comes_first_does_not_hide_a_success() -> None:
    """The order of the files does not decide."""
    rows, tally = merged(jsonl(bad_row("a")), jsonl(good_row("a")), ids=["a"])
    assert rows[0]["response"]["status_code"] == 200
    assert tally.complete


def test_without_ids_the_results_come_as_they_stand() -> None:
    """A batch from elsewhere whose input is gone is still collected."""
    rows, tally = merged(jsonl(good_row("b"), good_row("a")), ids=None)
    assert [row["custom_id"] for row in rows] == ["b", "a"]
    assert tally.complete


def test_nothing_is_not_complete() -> None:
    """A batch without any request or result is no success."""
    assert not merged(b"", ids=[])[1].complete


def test_a_result_may_be_longer_than_a_request() -> None:
    """Images come inside result lines: twenty million bytes are no fault."""
    row = good_row("a") | {"x": "y" * 20_000_000}
    _, tally = merged(jsonl(row), ids=["a"])
    assert tally.complete


@pytest.mark.parametrize(
    "data",
    [
        b"<!doctype html><p>sign in</p>",
        b'{"error": {"message": "try again"}}\n',
        b'{"custom_id": null}\n',
        b'{"custom_id": 7, "response": null}\n',
        b'{"custom_id": "a", "response": "x"}\n',
        b"[]\n",
        b"\x00\x00\x00",
        b"\xff\xfe{\x00",
        jsonl(good_row("a"))[:-20],
        jsonl(good_row("a")) + b'{"custom_id": "b", "resp',
        b"[" * 100_000,
        b'{"custom_id": "a", "error": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_result_is_refused(data: bytes) -> None:
    """A page, an error, or half a line is not the file that the provider holds."""
    with pytest.raises(DownloadError, match="line"):
        merged(data, ids=["a"])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=20), st.sets(st.sampled_from("abcdefg")))
def test_each_request_is_counted_once(rows: list[tuple[str, bool]], asked: set[str]) -> None:
    """However rows are repeated, requests are the sum of successes, failures and missing ones."""
    ids = sorted(asked)
    data = jsonl(*(good_row(name) if good else bad_row(name) for name, good in rows))
    out, tally = merged(data, ids=ids)
    assert tally.requests == len(ids) == tally.succeeded + tally.failed + tally.missing_count
    assert tally.succeeded == len({name for name, good in rows if good} & asked)
    assert [row["custom_id"] for row in out] == [name for name in ids if name in {row[0] for row in rows}]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (OK, "hi"),
        (json.dumps(OK), "hi"),
        ({"choices": [{"text": "plain"}]}, "plain"),
        ({"choices": [{"message": {"content": None, "tool_calls": []}}]}, '{"content":null,"tool_calls":[]}'),
        ({"output": [{"content": [{"text": "one "}, {"text": "two"}]}, {"content": None}]}, "one two"),
        ({"data": [{"embedding": [0.1, 0.2]}]}, "[2 numbers]"),
        ({"data": [{"embedding": "AAAA"}]}, "[a vector]"),
        ({"results": []}, '{"results":[]}'),
        ({"choices": []}, '{"choices":[]}'),
        ([1], "[1]"),
    ],
)
def test_the_answer_that_a_person_wants(body: Any, text: str) -> None:
    """The text is found in each endpoint's body."""
    line = json.dumps({"custom_id": "a", "response": {"status_code": 200, "body": body}, "error": None}).encode()
    assert answer_text(line) == ("a", True, text)


def test_a_batch_as_openai_shows_it() -> None:
    """Every field that is used is read."""
    info = read_batch(
        {
            "id": "batch_1",
            "status": "in_progress",
            "endpoint": "/v1/responses",
            "input_file_id": "file-1",
            "output_file_id": None,
            "error_file_id": "",
            "request_counts": {"total": 3, "completed": 2, "failed": 1},
            "metadata": {"a": "b"},
            "created_at": 1_790_000_000,
            "expires_at": 1_790_086_400,
            "usage": {"input_tokens": 5, "output_tokens_details": {"reasoning_tokens": 1}},
        }
    )
    assert (info.id, info.status, info.finished) == ("batch_1", "in_progress", False)
    assert (info.input_file_id, info.output_file_id, info.error_file_id) == ("file-1", None, None)
    assert (info.counts, info.counts.done) == (Counts(3, 2, 1), 3)
    assert (info.metadata, info.usage) == ({"a": "b"}, {"input_tokens": 5})
    assert (info.created_at, info.expires_at, info.ended_at) == (1_790_000_000, 1_790_086_400, None)


@pytest.mark.parametrize(
    ("word", "status", "finished"),
    [
        ("completed", "completed", True),
        ("COMPLETED", "completed", True),
        ("Canceled", "cancelled", True),
        ("expired", "expired", True),
        ("failed", "failed", True),
        ("cancelling", "cancelling", False),
        ("finalizing", "finalizing", False),
        ("pre_schedule", "validating", False),
        ("moderating", "moderating", False),
        ("", "unknown", False),
        (None, "unknown", False),
        (7, "7", False),
        ("done", "completed", True),
    ],
)
def test_status_words(word: Any, status: str, *, finished: bool) -> None:
    """Letter case and synonyms are seen through, the profile's own words first; what is unknown still runs."""
    info = read_batch({"id": "b", "status": word}, {"done": "completed"})
    assert (info.status, info.finished) == (status, finished)


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        (None, ()),
        ([], ()),
        ({"object": "list", "data": []}, ()),
        ({"data": None}, ()),
        ("text", ()),
        (["it broke"], (BatchFault(None, "it broke"),)),
        ([{"message": "m"}], (BatchFault(None, "m"),)),
        (
            {"data": [{"code": "c", "message": "m", "line": 3, "param": "p"}, None, {}]},
            (BatchFault("c", "m", 3, "p"), BatchFault(None, "no reason given")),
        ),
        ({"data": [{"message": {"deep": 1}, "line": "3", "code": 5}]}, (BatchFault(None, "no reason given"),)),
    ],
)
def test_errors_of_any_shape(value: Any, faults: tuple[BatchFault, ...]) -> None:
    """Reasons come as an object, a list, strings, or not at all."""
    assert read_batch({"id": "b", "status": "failed", "errors": value}).errors == faults


@pytest.mark.parametrize("data", [{}, {"id": None}, {"id": ""}, {"id": 7}, {"job": {}}, {"job": "x"}])
def test_what_has_no_id_is_no_batch(data: dict[str, Any]) -> None:
    """An answer without an id proves nothing."""
    with pytest.raises(ValueError, match="no batch id"):
        read_batch(data)


def test_lone_surrogates_are_replaced() -> None:
    """JSON can hold half a character; what is read can be written into a file or a table."""
    info = read_batch({"id": "b", "status": "\udfff", "model": "m\ud800", "metadata": {"k": "\ud800"}})
    assert (info.status, info.model, info.metadata) == ("?", "m?", {"k": "?"})


@pytest.mark.parametrize(
    "value", ["", None, 7, "b\ud800", "a b", "a\tb", "a\x1b[2J", "b\n", "../x y", "é", "b" * 513, ["b"]]
)
def test_what_is_no_id_is_refused(value: Any) -> None:
    """An id is stored, shown and put into a URL: one with other characters than ids have is as good as none."""
    with pytest.raises(ValueError, match="no batch id"):
        read_batch({"id": value})
    assert read_batch({"id": "b", "output_file_id": value}).output_file_id is None


@pytest.mark.parametrize("value", ["batch_68f1", "batches/a-1", "projects/p/x:y", "0f-4e.a~b=", "abc@2024+1"])
def test_ids_of_known_servers_are_taken(value: str) -> None:
    """Ids of any server that we know come through as they are."""
    assert read_batch({"id": value, "error_file_id": value}).id == value


def test_texts_of_a_server_are_bounded() -> None:
    """However much a server says: a status, a message, the list of errors and usage stay small."""
    errors = [{"message": "m" * 10**5, "line": -4}] * 2000
    usage = {"total_tokens": 10**30, "a": True, "b": -1, "c": 3}
    info = read_batch({"id": "b", "status": "s\n" * 10**5, "errors": errors, "usage": usage})
    assert len(info.status) <= 64
    assert "\n" not in info.status
    assert len(info.errors) == 1000
    assert len(info.errors[0].message) == 2000
    assert info.errors[0].line is None
    assert info.usage == {"c": 3}


def test_a_batch_in_a_wrapper() -> None:
    """One provider puts what it has just created into `job`."""
    assert read_batch({"job": {"id": "b", "status": "queued"}}).status == "validating"


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1764086400, 1764086400.0),
        (1764086400.5, 1764086400.5),
        (1764086400000, 1764086400.0),
        (1764086400000000, 1764086400.0),
        (1764086400000000000, 1764086400.0),
        ("1764086400000", 1764086400.0),
        ("2025-11-25T16:00:00+00:00", 1764086400.0),
        ("2025-11-25T16:00:00Z", 1764086400.0),
        ("2025-11-25T16:00:00", 1764086400.0),
        (5, None),
        ("1970-01-01T00:00:05+00:00", None),
        (2**63 - 1, None),
        (1e300, None),
        (float("nan"), None),
        (0, None),
        (-1, None),
        (True, None),
        ("soon", None),
        (float("inf"), None),
        (10**400, None),
        ("0001-01-01", None),
    ],
)
def test_times_of_any_shape(value: Any, time: float | None) -> None:
    """Times in seconds or smaller units and ISO times are read; what is not plausible is absent."""
    assert read_batch({"id": "b", "created_at": value}).created_at == time


def test_counts_of_any_shape() -> None:
    """Counts that are null, negative, text or of the wrong kind are none."""
    values: list[Any] = [
        None,
        [],
        "x",
        {"total": None},
        {"total": "3"},
        {"total": -3},
        {"total": 1.5},
        {"total": 2**70},
    ]
    for value in values:
        assert read_batch({"id": "b", "request_counts": value}).counts == Counts()


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "status",
    "errors",
    "request_counts",
    "created_at",
    "expires_at",
    "metadata",
    "output_file_id",
    "usage",
    "model",
)


@given(st.dictionaries(st.sampled_from(FIELDS), ODD))
def test_no_batch_object_is_too_strange(data: dict[str, Any]) -> None:
    """Whatever the fields hold, the batch is read, and what is read can be written down anywhere."""
    info = read_batch({"id": "b", **data})
    assert info.status
    for text in (info.status, info.output_file_id, info.model, *info.metadata.values()):
        assert text is None or text.encode() is not None
    assert all(0 <= count < 2**63 for count in (info.counts.total, info.counts.completed, info.counts.failed))
    for time in (info.created_at, info.expires_at):
        assert time is None or 0 < time < float("inf")


ODDITIES: list[Any] = [
    {"custom_id": "a", "response": {"status_code": 200, "body": {"error": None}}},
    {"custom_id": "b", "response": {"status_code": 200, "body": {"error": {"message": "no"}}}, "error": None},
    {"custom_id": "a", "response": {"status_code": 200, "body": '{"choices": []}'}},
    {"custom_id": "c", "response": {"status_code": 200, "body": "no json"}},
    {"custom_id": "b", "response": {"status_code": True, "body": {}}},
    {"custom_id": "d", "response": {"status_code": 299, "body": None}},
    {"custom_id": "e", "response": {"status_code": 300, "body": {}}},
    {"custom_id": "f", "response": {"status_code": 200, "body": [1, {"error": 2}]}},
    {"custom_id": "ä🦜", "response": {"status_code": 200, "body": {"x": "ü\n"}}, "error": {}},
    {"custom_id": "g", "response": None, "error": "broken"},
    {"custom_id": "g", "error": None},
]


@given(
    st.lists(st.tuples(st.sampled_from(ODDITIES), st.sampled_from(["\n", "\r\n", "\n\n", " \n"])), max_size=40),
    st.integers(1, 300),
    st.booleans(),
)
def test_blocks_and_lines_find_the_same(rows: list[tuple[Any, str]], size: int, ended: bool) -> None:
    """Wherever blocks end, what is found is what each line says when it is read by itself."""
    text = "".join(json.dumps(row, ensure_ascii=False) + end for row, end in rows)
    data = (text if ended else text.rstrip()).encode()
    places: dict[str, Place] = {}
    tally = Tally()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", size)
        index(io.BytesIO(data), 1, "f", places, tally)
    expected: dict[str, Place] = {}
    begin = repeats = 0
    for raw in data.split(b"\n"):
        if raw.strip():
            line = read_line(raw)
            success, _, _ = judge(line.response, line.error)
            repeats += line.custom_id in expected
            if line.custom_id not in expected or (success and not expected[line.custom_id].success):
                expected[line.custom_id] = Place(1, begin, len(raw), success)
        begin += len(raw) + 1
    assert (places, tally.repeats) == (expected, repeats)


def test_values_that_are_not_lines() -> None:
    """Two results on one line, and one on two, are no result lines, though a parser of values takes them."""
    one, two = (json.dumps(good_row(name)).encode() for name in "ab")
    for data in (one + b" " + two + b"\n \n", one + b"\n" + two.replace(b", ", b",\n", 1) + b"\n", one + two + b"\n\n"):
        with pytest.raises(DownloadError, match="is not a result"):
            merged(data, ids=["a", "b"])


@pytest.mark.parametrize("blocks", [1, 1 << 18])
def test_the_line_at_fault_is_named(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the file is read, an error names the line by its number in the file."""
    monkeypatch.setattr(module, "_BLOCK", blocks)
    data = jsonl(*(good_row(str(n)) for n in range(7))) + b"<html>\n" + jsonl(good_row("x"))
    with pytest.raises(DownloadError, match="f: line 8 is not a result"):
        merged(data, ids=[])


@pytest.mark.parametrize("value", ["1e999", "9" * 400, "[-1e5000]"])
def test_a_number_beyond_all_bounds_loses_no_result(value: str) -> None:
    """What a program cannot hold somewhere in a body is no reason to lose a result that was paid for."""
    data = jsonl(good_row("a")).replace(b'"usage"', b'"odd": %b, "usage"' % value.encode())
    rows, tally = merged(data, ids=["a"])
    assert tally.complete
    assert rows[0]["custom_id"] == "a"
    assert answer_text(data.rstrip()) == ("a", True, "answer to a")
