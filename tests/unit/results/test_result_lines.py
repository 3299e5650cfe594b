"""Unusual data of a provider is accepted, and data that is not a result is refused."""

from __future__ import annotations

import io
import json
from codecs import BOM_UTF8
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plan import bad_row, expired_row, good_row

from openai_batch.errors import DownloadError
from openai_batch.providers.batch_info import BatchFault, Counts, read_batch
from openai_batch.results import index as module
from openai_batch.results.flatten import flat
from openai_batch.results.index import Place, Places, as_received, index
from openai_batch.results.merge import OrderedResult, Successes, complete, rows_in_order
from openai_batch.results.outcome import Outcome
from openai_batch.results.result import Result
from openai_batch.results.result_line import with_id
from openai_batch.results.tally import Tally

OK = {"choices": [{"message": {"content": "hi"}}]}


@pytest.mark.parametrize(
    ("response", "error", "outcome", "cause"),
    [
        ((200, OK), None, "success", ""),
        ((201, {"x": 1}), None, "success", ""),
        ((200, json.dumps(OK)), None, "success", ""),
        ((200, OK | {"error": None}), None, "success", ""),
        ((200, OK), {}, "success", ""),
        ((200, OK), {"code": None, "message": ""}, "success", ""),
        ((200, OK | {"error": {"code": None, "details": []}}), None, "success", ""),
        (("200", OK), None, "success", ""),
        ((200.0, OK), None, "success", ""),
        ((200, "plain text"), None, "success", ""),
        ((200, "7"), None, "success", ""),
        ((200, None), None, "error", "the response is empty"),
        ((200, ""), None, "error", "the response is empty"),
        ((200, {}), None, "error", "the response is empty"),
        ((200, "<!DOCTYPE html><p>busy"), None, "error", "the response is a web page: <!DOCTYPE html><p>busy"),
        ((200, {"error": {"message": "no"}}), None, "error", "no"),
        ((200, {"error": {"message": "no", "code": "server_error"}}), None, "error", "server_error: no"),
        ((200, {"error": {"message": "no", "code": "invalid_prompt"}}), None, "refused", "invalid_prompt: no"),
        ((200, {"object": "error", "message": "no", "code": 40}), None, "error", "40: no"),
        (
            (200, {"status": "failed", "output": []}),
            None,
            "error",
            "failed: the provider reports this answer as failed",
        ),
        (
            (200, {"status": "queued", "error": None}),
            None,
            "error",
            "queued: the provider reports this answer as queued",
        ),
        ((400, {"error": {"message": "bad  \n request"}}), None, "error", "400: bad request"),
        ((400, {"error": {"message": "no", "code": "content_filter"}}), None, "refused", "400 content_filter: no"),
        (
            (400, {"error": {"message": "no", "code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
            None,
            "refused",
            "400 ResponsibleAIPolicyViolation: no",
        ),
        ((400, {"message": "too long", "code": 400}), None, "error", "400: too long"),
        ((200, {"success": False, "errors": [{"code": 7, "message": "no"}]}), None, "error", "no"),
        ((400, [{"error": {"code": 400, "message": "no"}}]), None, "error", "400: no"),
        ((404, {"detail": "Not Found"}), None, "error", "404: Not Found"),
        ((422, {"detail": [{"loc": ["body", "n"], "msg": "too low"}]}), None, "error", "422: body.n: too low"),
        ((500, {}), None, "error", "500"),
        ((500, {"oops": [1]}), None, "error", '500: {"oops":[1]}'),
        ((429, '{"error": {"message": "slow down"}}'), None, "error", "429: slow down"),
        ((429, "slow down"), None, "error", "429: slow down"),
        ((429, {"error": "slow down"}), None, "error", "429: slow down"),
        ((None, OK), None, "error", "no HTTP status"),
        ((True, OK), None, "error", "no HTTP status"),
        ((200, OK), {"code": "x", "message": "y"}, "error", "x: y"),
        (None, {"code": "batch_expired", "message": "too late"}, "error", "batch_expired: too late"),
        (None, "broken", "error", "broken"),
        (None, ["broken"], "error", "broken"),
        (None, None, "missing", "missing: no result"),
    ],
)
def test_the_outcome_and_the_reason(response: tuple[Any, Any] | None, error: Any, outcome: str, cause: str) -> None:
    """Each kind of line has the right outcome, with the provider's own reason."""
    told = response and {"status_code": response[0], "body": response[1]}
    result = Result.of(json.dumps({"custom_id": "a", "response": told, "error": error}).encode())
    assert (result.outcome, result.verdict.cause) == (outcome, cause)
    assert result.ok == (outcome == "success")


@pytest.mark.parametrize(
    ("status", "body", "helps"),
    [
        (429, {"error": {"message": "the limit of unsupported calls"}}, True),
        (503, "busy", True),
        (400, {"error": {"message": "bad"}}, False),
        (400, {"error": {"message": "no", "code": "content_filter"}}, False),
        (200, {"error": {"message": "no", "code": "server_error"}}, True),
        (200, {"error": {"message": "no", "code": "image_content_policy_violation"}}, False),
        (200, {"error": {"message": "maximum context length"}}, False),
        (200, {"status": "cancelled"}, True),
        (200, None, True),
        (200, {"choices": [{"message": {"refusal": "No."}}]}, False),
        (200, {"choices": [{"message": {"content": "a"}, "finish_reason": "length"}]}, False),
    ],
)
def test_which_requests_are_sent_again(status: int, body: Any, *, helps: bool) -> None:
    """A request that was refused or is invalid is not sent again automatically."""
    line = json.dumps({"custom_id": "a", "response": {"status_code": status, "body": body}}).encode()
    assert Result.of(line).verdict.retryable is helps


def merged(*files: bytes, ids: list[str] | None) -> tuple[list[dict[str, Any]], Tally]:
    """Index files, and put their results into order."""
    places = Places()
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
    """Each id has one row: a success beats an error, unknown ids are left out, and missing ids are listed."""
    output = jsonl(good_row("c"), good_row("a"), good_row("a"), good_row("x"), end="\r\n").rstrip()
    errors = jsonl(bad_row("a"), expired_row("b"), bad_row("c"))
    rows, tally = merged(output, errors, ids=["a", "b", "c", "d"])
    assert [row["custom_id"] for row in rows] == ["a", "b", "c"]
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert (tally.requests, str(tally), tally.missing) == (
        4,
        "2 of 4 answered: 2 succeeded, 1 failed, 1 missing",
        ["d"],
    )
    assert (tally.unknown_ids, tally.repeats) == (1, 3)
    failed = [(cause.cause, cause.count, cause.samples) for cause in tally.causes.most_common(Outcome.ERROR)]
    assert failed == [("batch_expired: the window has passed", 1, ["b"])]
    assert not tally.complete


def test_an_error_that_comes_first_does_not_hide_a_success() -> None:
    """A success replaces an error, whichever file comes first."""
    rows, tally = merged(jsonl(bad_row("a")), jsonl(good_row("a")), ids=["a"])
    assert rows[0]["response"]["status_code"] == 200
    assert tally.complete


def test_without_ids_the_results_are_in_file_order() -> None:
    """Without the ids of the input, results are collected in the order of the files."""
    rows, tally = merged(jsonl(good_row("b"), good_row("a")), ids=None)
    assert [row["custom_id"] for row in rows] == ["b", "a"]
    assert tally.complete


def test_nothing_is_not_complete() -> None:
    """A batch without any request or result is not complete."""
    assert not merged(b"", ids=[])[1].complete


def test_a_result_may_be_longer_than_a_request() -> None:
    """A result line of 20 MB, such as one with images, is accepted."""
    row = good_row("a") | {"x": "y" * 20_000_000}
    _, tally = merged(jsonl(row), ids=["a"])
    assert tally.complete


DEEP = (b"[" * 300 + b"]" * 300, b'{"a":' * 300 + b"1" + b"}" * 300)
"""Nested values that Python's parser reads or refuses, depending on how deeply it is already nested."""

NO_RESULTS = [
    b"<!doctype html><p>sign in</p>",
    b'{"error": {"message": "try again"}}',
    b'{"custom_id": null}',
    b'{"custom_id": ["a"]}',
    b'{"custom_id": "a", "response": "x"}',
    b"[]",
    b"\x00\x00\x00",
    b"\xff\xfe{\x00",
    b'{"custom_id": "a", "error": "\xe4"}',
    b'{"custom_id": "a", "response": null,}',
    jsonl(good_row("a"))[:-20],
    b"[" * 100_000,
    b'{"custom_id": "a", "error": ' + b"[" * 100_000,
    *(jsonl(good_row("a"))[:-1].replace(b'"object"', b'"x": %b, "object"' % deep) for deep in DEEP),
    *(jsonl(bad_row("a"))[:-1].replace(b'"code": null', b'"code": %b' % deep) for deep in DEEP),
]


@pytest.mark.parametrize("line", NO_RESULTS)
def test_a_line_that_is_not_a_result_is_refused(line: bytes) -> None:
    """A web page, an error or half a line is refused if it is the only line."""
    with pytest.raises(DownloadError, match=r"f: line 1 is not a result.*") as told:
        merged(line + b"\n", ids=["a"])
    assert "--raw" in told.value.hint


@pytest.mark.parametrize("line", NO_RESULTS)
@pytest.mark.parametrize("blocks", [1, 1 << 18])
def test_an_invalid_line_does_not_affect_other_rows(line: bytes, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that is not a result does not affect the others, and is reported with its line number."""
    monkeypatch.setattr(module, "_BLOCK", blocks)
    rows, tally = merged(jsonl(good_row("b"), good_row("c")) + line + b"\n" + jsonl(good_row("d")), ids=list("abcd"))
    assert [row["custom_id"] for row in rows] == ["b", "c", "d"]
    assert (tally.unreadable_count, tally.missing) == (1, ["a"])
    assert tally.unreadable[0].startswith("f: line 3 is not a result (")
    assert not tally.complete


@pytest.mark.parametrize("odd", ["NaN", "-Infinity", '"\\ud83d"', "1e999", "9" * 400, "9" * 5000])
def test_values_that_only_python_reads_are_accepted(odd: str) -> None:
    """Values that only Python reads are accepted, the bytes are kept, and half a character does not break a table."""
    line = jsonl(good_row("a")).replace(b'"usage"', b'"odd": %b, "usage"' % odd.encode())
    places, tally = Places(), Tally()
    stream = io.BytesIO(line)
    index(stream, 0, "f", places, tally)
    assert list(as_received([stream], places, tally)) == [line]
    assert tally.succeeded
    assert '"answer to a"' in json.dumps(flat(Result.of(line)))
    assert Result.of(line.replace(b"answer to", b"\\udc00 to")).text == "\ufffd to a"


@pytest.mark.parametrize("number", ["7", "7.50", "123456789012345678901234567890"])
def test_an_id_may_be_a_number(number: str) -> None:
    """An id that is a number matches the request with that text as its id, and renaming keeps the rest of the line."""
    line = jsonl(good_row("a")).replace(b'"a"', number.encode(), 1)
    rows, tally = merged(line, ids=[number])
    assert tally.succeeded
    assert len(rows) == 1
    assert with_id(line, number) == line
    assert json.loads(with_id(line, "b"))["custom_id"] == "b"


def test_a_byte_order_mark_is_not_part_of_a_result() -> None:
    """A byte order mark before the first line is skipped, and is not in the results."""
    rows, tally = merged(BOM_UTF8 + jsonl(good_row("b"), good_row("a")), ids=["a", "b"])
    assert tally.succeeded
    assert [row["custom_id"] for row in rows] == ["a", "b"]


def test_a_renamed_line_keeps_nan() -> None:
    """A line with NaN, which only Python reads, can get another id."""
    line = b'{"custom_id": "a", "x": NaN}\n'
    assert with_id(line, "b") == b'{"custom_id": "b", "x": NaN}\n'


@pytest.mark.parametrize("own", [["a", "b"], ["b", "a"], ["a", "c"]])
@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("number", [True, False])
def test_many_successes_have_the_ids_of_their_rows(own: list[str], *, noted: bool, number: bool) -> None:
    """Successes of an earlier job are copied unchanged only if their ids match the rows."""
    kept = [good_row(custom_id) for custom_id in ("a", "b")]
    block = jsonl(*kept).replace(b'"a"', b"7") if number else jsonl(*kept)
    last = OrderedResult(4, Outcome.ERROR, jsonl(bad_row("last")))
    results: list[OrderedResult | Successes] = [Successes(1, 2, block), last]
    tally, seen = Tally(), list[tuple[int, str, Outcome]]()
    note = (lambda row, custom_id, verdict: seen.append((row, custom_id, verdict.outcome))) if noted else None
    lines = list(complete(["lost", *own, "none", "last"], iter(results), tally, note))
    rows = [json.loads(line) for line in b"".join(lines).splitlines()]
    assert [row["custom_id"] for row in rows] == [*own, "last"]
    assert [row["response"] for row in rows] == [*(row["response"] for row in kept), bad_row("last")["response"]]
    assert len(lines) == (2 if own == ["a", "b"] and not noted and not number else 3)
    outcomes = [Outcome.MISSING, Outcome.SUCCESS, Outcome.SUCCESS, Outcome.MISSING, Outcome.ERROR]
    assert seen == ([*zip(range(5), ["lost", *own, "none", "last"], outcomes, strict=True)] if noted else [])
    assert (tally.requests, tally.answered, tally.missing) == (5, 2, ["lost", "none"])


def test_both_answers_to_a_repeated_id() -> None:
    """Each of two requests with one id gets a result, in file order; further results are counted."""
    data = jsonl(bad_row("a"), good_row("a"), good_row("a") | {"n": 2}, good_row("b"), good_row("b"))
    rows, tally = merged(data, ids=["a", "a", "b"])
    assert [(row["custom_id"], row["response"]["status_code"]) for row in rows] == [("a", 200), ("a", 400), ("b", 200)]
    assert tally.repeats == 2
    rows, tally = merged(data, ids=None)
    assert [row["custom_id"] for row in rows] == ["a", "a", "b", "b"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=20), st.sets(st.sampled_from("abcdefg")))
def test_each_request_is_counted_once(rows: list[tuple[str, bool]], asked: set[str]) -> None:
    """With any repeats, the requests are the sum of successes, failures and missing results."""
    ids = sorted(asked)
    data = jsonl(*(good_row(name) if good else bad_row(name) for name, good in rows))
    out, tally = merged(data, ids=ids)
    assert tally.requests == len(ids) == tally.outcomes.total()
    assert tally.outcomes[Outcome.SUCCESS] == len({name for name, good in rows if good} & asked)
    assert [row["custom_id"] for row in out] == [name for name in ids if name in {row[0] for row in rows}]


def test_a_batch_as_openai_shows_it() -> None:
    """Every field of a batch that is used is read."""
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
        ("Finished", "completed", True),
        ("JOB_STATE_SUCCEEDED", "completed", True),
        ("errored", "failed", True),
        ("Timed out", "expired", True),
        ("timeout", "expired", True),
        ("aborted", "cancelled", True),
        ("in-progress", "in_progress", False),
        ("queued", "validating", False),
        ("ended", "ended", False),
        ("running", "failed", True),
    ],
)
def test_status_words(word: Any, status: str, *, finished: bool) -> None:
    """Status words are read in any case, with synonyms and the profile's own words; unknown words count as running."""
    info = read_batch({"id": "b", "status": word}, {"done": "completed", "running": "failed"})
    assert (info.status, info.finished) == (status, finished)


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        (None, ()),
        ([], ()),
        ({"object": "list", "data": []}, ()),
        ({"data": None}, ()),
        ("text", (BatchFault(None, "text"),)),
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
    """Errors are read as an object, a list, strings, or nothing."""
    assert read_batch({"id": "b", "status": "failed", "errors": value}).errors == faults


@pytest.mark.parametrize("data", [{}, {"id": None}, {"id": ""}, {"id": 7}, {"job": {}}, {"job": "x"}])
def test_an_object_without_an_id_is_not_a_batch(data: dict[str, Any]) -> None:
    """An answer without an id is not a batch."""
    with pytest.raises(ValueError, match="no batch id"):
        read_batch(data)


def test_lone_surrogates_are_replaced() -> None:
    """Half of a surrogate pair is replaced, so that the text can be written to a file or a table."""
    info = read_batch({"id": "b", "status": "\udfff", "model": "m\ud800", "metadata": {"k": "\ud800"}})
    assert (info.status, info.model, info.metadata) == ("?", "m?", {"k": "?"})


@pytest.mark.parametrize(
    "value", ["", None, 7, "b\ud800", "a b", "a\tb", "a\x1b[2J", "b\n", "../x y", "é", "b" * 513, ["b"]]
)
def test_an_invalid_id_is_refused(value: Any) -> None:
    """An id with characters that ids do not have is treated as missing."""
    with pytest.raises(ValueError, match="no batch id"):
        read_batch({"id": value})
    assert read_batch({"id": "b", "output_file_id": value}).output_file_id is None


@pytest.mark.parametrize("value", ["batch_68f1", "batches/a-1", "projects/p/x:y", "0f-4e.a~b=", "abc@2024+1"])
def test_ids_of_known_servers_are_taken(value: str) -> None:
    """Ids in the formats of all known servers are accepted."""
    assert read_batch({"id": value, "error_file_id": value}).id == value


def test_texts_of_a_server_are_bounded() -> None:
    """The status, messages, errors and usage that a server sends are cut to a limited size."""
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
    """A batch inside `job`, as one provider sends it after a create, is read."""
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
    """Times in seconds or smaller units and ISO times are read; implausible ones are ignored."""
    assert read_batch({"id": "b", "created_at": value}).created_at == time


def test_counts_of_any_shape() -> None:
    """Counts that are null, negative, text or of the wrong type are ignored."""
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
def test_any_batch_object_is_read(data: dict[str, Any]) -> None:
    """With any values in the fields, the batch is read, and its texts and numbers can be stored."""
    info = read_batch({"id": "b", **data})
    assert info.status
    for text in (info.status, info.output_file_id, info.model, *info.metadata.values()):
        assert text is None or text.encode() is not None
    assert all(0 <= count < 2**63 for count in (info.counts.total, info.counts.completed, info.counts.failed))
    for time in (info.created_at, info.expires_at):
        assert time is None or 0 < time < float("inf")


ODDITIES: list[Any] = [
    {"custom_id": "h", "response": {"status_code": 200, "body": chat_body}}
    for chat_body in (
        {"choices": [{"message": {"content": "x"}, "finish_reason": "length"}]},
        {"choices": [{"message": {"refusal": "no"}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": [{"type": "refusal", "refusal": "no"}]}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": "x"}, "finish_reason": {"a": 1}}]},
        {"choices": [{"error": {"message": "x"}, "finish_reason": "stop"}]},
        {"object": "response", "output": [{"content": [{"type": "refusal", "refusal": "no"}]}], "status": "completed"},
        {"object": "response", "output": [{"content": "x"}], "status": "incomplete"},
        {"object": "response", "output": [], "incomplete_details": {"reason": "max_output_tokens"}},
        {"object": "response", "status": "failed"},
        {"object": "error", "message": "x"},
        {"object": "x", "success": False, "choices": []},
        {"object": "list", "data": []},
        {"data": [1]},
        {},
    )
] + [
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
    """Blocks of any size give the same results as reading line by line."""
    text = "".join(json.dumps(row, ensure_ascii=False) + end for row, end in rows)
    data = (text if ended else text.rstrip()).encode()
    places = Places()
    tally = Tally()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", size)
        index(io.BytesIO(data), 1, "f", places, tally)
    expected = Places()
    begin = 0
    for raw in data.split(b"\n"):
        if raw.strip():
            line = Result.of(raw)
            if line.outcome is not Outcome.MISSING:
                expected.put(line.custom_id, Place(1, begin, len(raw), line.outcome))
        begin += len(raw) + 1
    assert (places, places.others) == (expected, expected.others)


def test_values_that_are_not_lines() -> None:
    """Two results on one line, and one result on two lines, are refused."""
    one, two = (json.dumps(good_row(name)).encode() for name in "ab")
    for data in (one + b" " + two + b"\n \n", one + two + b"\n\n"):
        with pytest.raises(DownloadError, match="is not a result"):
            merged(data, ids=["a", "b"])
    rows, tally = merged(one + b"\n" + two.replace(b", ", b",\n", 1) + b"\n", ids=["a", "b"])
    assert (len(rows), tally.unreadable_count) == (1, 2)
