"""Lines of result files, and the limit of concurrent requests to an upstream."""

from __future__ import annotations

import json

import pytest

from openai_batch.local.result_lines import error_line, response_line
from openai_batch.local.store import FAILED, SUCCEEDED
from openai_batch.local.targets import Target
from openai_batch.local.upstream import UpstreamResponse, base_url
from openai_batch.local.upstream_retry import _worth_retry


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, b'{"object":"x","error":null}', SUCCEEDED),
        (200, b"[1,2]", FAILED),
        (200, b'{"error":{}}', SUCCEEDED),
        (200, b'{"a":NaN}', SUCCEEDED),
        (200, b'{"error":"no","a":NaN}', FAILED),
        (201, b"{}", SUCCEEDED),
        (200, b'{"error":{"message":"no"}}', FAILED),
        (204, b"", FAILED),
        (302, b"{}", FAILED),
        (404, b"{}", FAILED),
        (500, b"\xff\xfe", FAILED),
        (0, b"{}", FAILED),
    ],
)
def test_success_or_not(status: int, body: bytes, state: int) -> None:
    """A line is a success only if its status is 200 or 201 and its body contains no error."""
    line = response_line("a", status, None, body)
    assert line.state == state
    assert json.loads(line.data)["response"]["status_code"] == status


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1.10, "b": "\\u00e9 \xc3\xa9"}',
        b'{\n "a": [1,\r\n 2]\n}',
        b"plain\ntext",
        b"\xff bytes",
        b"",
        b'{"a":1} {"b":2}',
        b"NaN",
        b'{"a":NaN,\n"b":-Infinity,"c":"\\ud83d"}',
        b'{\r\n"a":"\\udc00 \xc3\xa9"}',
        b'\xef\xbb\xbf{"a":1}',
        b"[" * 100_000,
        '"\u2028"'.encode(),
    ],
)
def test_each_result_is_one_line(body: bytes) -> None:
    """For any body the result is one line of JSON, and a JSON body is kept as JSON."""
    line = response_line('id"\n', 200, "req", body).data
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    parsed = json.loads(line)
    assert (parsed["custom_id"], parsed["response"]["request_id"], parsed["error"]) == ('id"\n', "req", None)
    try:
        expected = json.loads(body)
    except (ValueError, RecursionError):
        expected = body.decode("utf-8", "replace")
    assert repr(parsed["response"]["body"]) == repr(expected)  # since NaN is not equal to itself


def test_bytes_are_kept() -> None:
    """Spaces, escapes and number formats stay as the upstream wrote them."""
    body = b'{"a" : 1.10e0,"b":"\\u00e9"}'
    assert body in response_line("a", 200, "r", body).data


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ('{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}', (3, 0, 4, 0, 7)),
        ('{"prompt_tokens":3,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}', (3, 2, 0, 0, 3)),
        ('{"input_tokens":1,"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1}}', (1, 0, 2, 1, 3)),
        ('{"prompt_tokens":null,"completion_tokens":"4"}', (0, 0, 0, 0, 0)),
        ('{"prompt_tokens":-5,"completion_tokens_details":null}', (0, 0, 0, 0, 0)),
        ("null", (0, 0, 0, 0, 0)),
        ("[1]", (0, 0, 0, 0, 0)),
        ("1e999", (0, 0, 0, 0, 0)),
    ],
)
def test_tokens(usage: str, tokens: tuple[int, ...]) -> None:
    """Tokens are read under both sets of names, and invalid counts are 0."""
    assert response_line("a", 200, "r", f'{{"usage":{usage}}}'.encode()).tokens == tokens


def test_unanswered() -> None:
    """A request without an answer has an error with a code and a message, and no response."""
    parsed = json.loads(error_line("é", "batch_expired", "too late").data)
    assert parsed.pop("id").startswith("batch_req_")
    error = {"code": "batch_expired", "message": "too late"}
    assert parsed == {"custom_id": "é", "response": None, "error": error}


def test_limit_of_a_target() -> None:
    """The limit is halved once for several overload errors in a row, is at least 1, and rises with each answer."""
    target = Target("http://h/v1", None, limit=8)
    target.shrink()
    target.shrink()
    assert target.allowed == 4
    for _ in range(5):
        target.shrunk_at = 0.0
        target.shrink()
    assert target.allowed == 1
    assert target.free
    target.active = 1
    assert not target.free
    for _ in range(100):
        target.grow()
    assert target.allowed == 8


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("http://h/v1/", "http://h/v1"),
        ("https://h/api/openai", "https://h/api/openai"),
    ],
)
def test_base_url(url: str, base: str) -> None:
    """`/v1` is added to a URL without a path; any other path is kept."""
    assert base_url(url) == base


@pytest.mark.parametrize(
    ("status", "body", "again"),
    [
        *((status, b"", True) for status in (408, 425, 429, 500, 503, 529)),
        *((status, b"", False) for status in (200, 400, 404, 422, 501)),
        (429, b'{"error":{"code":"insufficient_quota"}}', False),
    ],
)
def test_which_responses_are_retried(status: int, body: bytes, again: bool) -> None:
    """Temporary errors are retried; refusals and an exhausted quota are not."""
    assert _worth_retry(UpstreamResponse(status, {}, body)) is again
