"""Invalid input lines are reported with their line number, and valid ones are not changed."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.workbench import request_line

from openai_batch.errors import InputError
from openai_batch.files.lines import lines
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.check import check_stream
from openai_batch.requests.limits import Limits
from openai_batch.requests.source import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.requests.check_report import CheckReport, Row

GOOD = request_line("a").rstrip(b"\n")
OTHER = request_line("b").rstrip(b"\n")


def check(data: bytes, limits: Limits | None = None, **options: Any) -> CheckReport:
    """Check bytes as a file."""
    return check_stream(io.BytesIO(data), limits or Limits(), **options)


def line(**changes: Any) -> bytes:
    """Return a request line with these fields changed; None removes a field."""
    fields = json.loads(GOOD) | changes
    return json.dumps({key: value for key, value in fields.items() if value is not None}).encode()


def body(**changes: Any) -> bytes:
    """Return a request line with another body."""
    return line(
        body={key: value for key, value in {"model": "m", "messages": [], **changes}.items() if value is not None}
    )


@pytest.mark.parametrize(
    "data",
    [
        GOOD,
        GOOD + b"\n",
        GOOD + b"\r\n" + OTHER + b"\r\n",
        b"\n\n" + GOOD + b"\n \n" + OTHER,
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"ask", "ask\u2028\u0085\x7f".encode()),
        GOOD.replace(b"ask", rb"\ud83d\ude00 \u001c"),
        body(seed=2**53 + 1),
        body(model="ft:gpt-4o-mini:me::1", temperature=0.1),
        body(stream=False),
        body(user="user", metadata={"model": "model"}),
        body(messages=[[[[]]]] * 300),
        line(custom_id="x" * 64),
        line(custom_id="文書-7"),
    ],
)
def test_valid_lines_are_accepted(data: bytes) -> None:
    """Different line ends, blank lines, a byte order mark, unusual characters and large values are accepted."""
    report = check(data)
    assert report.problems == [] or all(problem.warning for problem in report.problems)
    assert report.ok
    assert report.requests == data.count(b"custom_id")


DEEP = GOOD.replace(b'"model"', b'"x": ' + b"[" * 201 + b"]" * 201 + b', "model"')

BAD: list[tuple[bytes, int | None, str, str]] = [
    (b"", None, "empty_file", "no request"),
    (b"\n \r\n\n", None, "empty_file", "no request"),
    (GOOD.decode().encode("utf-16"), 1, "invalid_encoding", "UTF-16"),
    (GOOD.decode().encode("utf-16-le"), 1, "invalid_encoding", "UTF-16"),
    (GOOD.decode().encode("utf-16-be"), 1, "invalid_encoding", "UTF-16"),
    (GOOD.decode().encode("utf-32"), 1, "invalid_encoding", "UTF-32"),
    (gzip.compress(GOOD), 1, "invalid_encoding", "gzip"),
    (b"\x28\xb5\x2f\xfd\n\n\xff\n", 1, "invalid_encoding", "zstd"),
    (b"BZh91AY\n\xff\n", 1, "invalid_encoding", "bzip2"),
    (b"\xfd7zXZ\0\n", 1, "invalid_encoding", "xz"),
    (b"PK\x03\x04\n\xff\n", 1, "invalid_encoding", "ZIP"),
    (b"PAR1\x15\0\n\xff\n", 1, "invalid_encoding", "Parquet"),
    (GOOD + b"\n" + OTHER.replace(b"ask", b"ask\xff"), 2, "invalid_encoding", "byte"),
    (GOOD.replace(b"ask", rb"\ud800"), 1, "invalid_json_line", "surrogate"),
    (body(n=1).replace(b" 1}", b" NaN}"), 1, "invalid_json_line", "JSON"),
    (body(n=1).replace(b" 1}", b" Infinity}"), 1, "invalid_json_line", "JSON"),
    (body(n=1).replace(b" 1}", b" 1e999}"), 1, "invalid_json_line", "out of range"),
    (body(n=1).replace(b" 1}", b" " + b"9" * 5000 + b"}"), 1, "invalid_json_line", "out of range"),
    (GOOD[:-1] + b', "custom_id": "b"}', 1, "invalid_json_line", '"custom_id" occurs twice'),
    (GOOD[:-1] + b', "body": {"model": "m"}}', 1, "invalid_json_line", '"body" occurs twice'),
    (GOOD.replace(b'"model"', b'"model": "x", "model"'), 1, "invalid_json_line", '"model" occurs twice'),
    (DEEP, 1, "invalid_json_line", "levels deep"),
    (GOOD.replace(b'"model"', b'"x": ' + b"[" * 100_000 + b', "model"'), 1, "invalid_json_line", "deep"),
    (b"[" + GOOD + b"]", 1, "invalid_json_line", "not a JSON object"),
    (b"[\n" + GOOD + b"\n]", 1, "invalid_json_line", "without an array"),
    (json.dumps(json.loads(GOOD), indent=1).encode(), 1, "invalid_json_line", "one whole JSON object per line"),
    (GOOD + b"\r" + OTHER + b"\r", 1, "invalid_json_line", "old Mac line ends"),
    (GOOD + b"\n" + b"\0" * 500, 2, "invalid_json_line", "NUL"),
    (GOOD + b"\n" + OTHER[:50], 2, "invalid_json_line", "truncated"),
    (GOOD + b" x", 1, "invalid_json_line", "trailing"),
    (b"null\n", 1, "invalid_json_line", "not a JSON object"),
    (b"id,prompt\n1,hello\n", 1, "invalid_json_line", "not valid JSON"),
    (line(custom_id=None), 1, "missing_required_parameter", "custom_id"),
    (line(method=None), 1, "missing_required_parameter", "method"),
    (line(url=None), 1, "missing_required_parameter", "url"),
    (line(body=None), 1, "missing_required_parameter", "body"),
    (GOOD[:-1] + b', "\xff": "user", "x": "user"}', 1, "invalid_encoding", "byte"),
    (line(body=[], x="url"), 1, "invalid_request", "object"),
    (line(body="url"), 1, "invalid_request", "object"),
    (body(model=None), 1, "missing_required_parameter", "body.model"),
    (line(custom_id=7), 1, "invalid_request", 'write it as a string: "7"'),
    (line(custom_id=""), 1, "invalid_request", "custom_id"),
    (line(custom_id=7), 1, "invalid_request", "custom_id"),
    (line(custom_id="a\nb"), 1, "invalid_request", "control"),
    (line(custom_id="x" * 513), 1, "invalid_request", "too long"),
    (line(method="GET"), 1, "invalid_request", "POST"),
    (line(url="v1/chat/completions"), 1, "invalid_url", "path"),
    (line(body=[]), 1, "invalid_request", "object"),
    (body(model=7), 1, "invalid_request", "model"),
    (body(stream=True), 1, "streaming_unsupported", "stream"),
    (GOOD + b"\n" + OTHER + b"\n" + GOOD, 3, "duplicate_custom_id", "line 1"),
    (GOOD + b"\n" + request_line("b", "other"), 2, "model_mismatch", "line 1"),
    (GOOD + b"\n" + OTHER.replace(b"chat/completions", b"embeddings"), 2, "url_mismatch", "endpoint"),
]


@pytest.mark.parametrize("depth", range(600, 1000, 100))
def test_deep_nesting_outside_of_the_body_is_an_error_of_its_line(depth: int) -> None:
    """The two parsers have different limits of nesting, but each line that is too deep is an error."""
    for levels in range(depth, depth + 100):
        report = check(body(user="user").replace(b"{", b'{"user": ' + b"[" * levels + b"]" * levels + b", ", 1))
        assert report.ok or "levels deep" in report.errors[0].message or "too deeply" in report.errors[0].message


@pytest.mark.parametrize(("data", "number", "code", "words"), BAD, ids=[f"{n}-{row[2]}" for n, row in enumerate(BAD)])
def test_lines_that_are_not_requests_are_reported(data: bytes, number: int | None, code: str, words: str) -> None:
    """Each problem has its line, the code that batch servers use for it, and a helpful message."""
    report = check(data)
    assert not report.ok
    first = report.errors[0]
    assert (first.line, first.code) == (number, code)
    assert words in first.located("in.jsonl")


def test_a_file_of_another_kind_is_one_problem() -> None:
    """A compressed file is reported once, however many lines its bytes seem to have."""
    report = check(b"\x1f\x8b" + b"\n\xff" * 1000)
    assert (report.problem_count, report.lines) == (1, 1001)


def test_limits_of_the_provider() -> None:
    """The number of requests, the sizes, the endpoint and the models are checked against the profile."""
    data = request_line("a") + request_line("b", "other")
    assert check(data, Limits(one_model=False)).ok
    assert check(data, Limits(one_model=False, max_requests=2, max_bytes=len(data), max_line_bytes=len(data))).ok
    for limits, code in (
        (Limits(one_model=False, max_requests=1), "too_many_tasks"),
        (Limits(one_model=False, max_bytes=len(data) - 1), "file_too_large"),
        (Limits(one_model=False, max_line_bytes=50), "line_too_long"),
        (Limits(one_model=False, endpoints=("/v1/embeddings",)), "invalid_url"),
    ):
        assert [problem.code for problem in check(data, limits).errors][:1] == [code]
    assert check(data, Limits(one_model=False), endpoint="/v1/embeddings").errors[0].code == "url_mismatch"


def test_embedding_inputs_are_counted_over_the_file() -> None:
    """The limit counts the texts of all requests, not the requests."""
    few = Limits(max_embedding_inputs=5)
    rows = [line(custom_id=str(n), url="/v1/embeddings", body={"model": "e", "input": ["x"] * 3}) for n in range(2)]
    assert check(rows[0], few).ok
    assert check(b"\n".join(rows), few).errors[0].code == "too_many_tasks"


def test_a_line_that_is_too_long_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is too long is reported with its length, and the lines after it are still checked."""
    monkeypatch.setenv("OBATCH_MAX_LINE_BYTES", "1000")
    report = check(GOOD + b"\n" + b"x" * 200_000 + b"\n" + line(method="GET") + b"\n")
    assert (report.errors[0].line, report.errors[0].code) == (2, "line_too_long")
    assert "200,001" in report.errors[0].message  # including its newline
    assert report.errors[1].line == 3


def test_many_problems_are_counted_and_some_are_kept() -> None:
    """A file with many invalid lines gives a short list of problems and their total number."""
    report = check(b"nonsense\n" * 1000, max_problems=10)
    assert (len(report.problems), report.problem_count) == (10, 1000)


@given(st.lists(st.binary(max_size=60), max_size=12))
def test_lines_split_at_newlines_alone(pieces: list[bytes]) -> None:
    """Lines and offsets match the file for any bytes."""
    data = b"\n".join(pieces)
    found = list(lines(io.BytesIO(data)))
    for number, offset, raw in found:
        assert isinstance(raw, bytes)
        assert data[offset : offset + len(raw)] == raw
        assert b"\n" not in raw
        assert number >= 1
    assert b"\n".join(raw for _, _, raw in found if isinstance(raw, bytes)) == data.removesuffix(b"\n")


@given(st.binary(max_size=300))
def test_any_bytes_are_checked_without_a_crash(data: bytes) -> None:
    """For any bytes there is a report, and only valid lines become rows."""
    rows: list[Row] = []
    report = check(data, on_row=rows.append)
    assert report.ok == (report.problem_count == 0)
    assert len(rows) <= report.requests


JSON_LIKE = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=20)


@given(JSON_LIKE)
def test_what_is_accepted_is_strict_json(value: Any) -> None:
    """Accepted lines are strict JSON; NaN and Infinity, which Python writes, are refused."""
    data = json.dumps({**json.loads(GOOD), "body": {"model": "m", "x": value}}).encode()
    odd: list[str] = []
    json.loads(data, parse_constant=odd.append)
    assert check(data).ok == (not odd)


def test_the_users_bytes_are_sent(tmp_path: Path) -> None:
    """Only line ends, blank lines and a byte order mark are removed, in a copy; the file itself is not changed."""
    path = tmp_path / "in.jsonl"
    dirty = b"\xef\xbb\xbf" + GOOD + b"\r\n\n" + OTHER
    path.write_bytes(dirty)
    work = tmp_path / "work"
    work.mkdir()
    checked = check_file(open_source(str(path), work), Limits(), work)
    assert checked.path.read_bytes() == GOOD + b"\n" + OTHER + b"\n"
    assert checked.path != path
    assert path.read_bytes() == dirty
    path.write_bytes(GOOD + b"\n")
    assert check_file(open_source(str(path), work), Limits(), work).path == path


def test_a_path_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    """A folder, a device and a missing file are refused; the error of an invalid file shows its first problem."""
    for name in (str(tmp_path), "/dev/zero", str(tmp_path / "none")):
        with pytest.raises(InputError):
            open_source(name, tmp_path)
    path = tmp_path / "bad.jsonl"
    path.write_bytes(GOOD + b"\n" + GOOD + b"\n")
    with pytest.raises(InputError, match=r"bad\.jsonl:2: .*also on line 1") as told:
        check_file(open_source(str(path), tmp_path), Limits(), tmp_path)
    assert told.value.code == 3
    assert len(told.value.problems) == 1
