"""The local server with the unchanged OpenAI client."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import openai
import pytest
from support.batch import CHAT, chat_file, finish, lines, start
from support.servers import local_server

if TYPE_CHECKING:
    from pathlib import Path

    from openai import OpenAI
    from support.servers import EchoUpstream, LocalServer


def test_main_path(client: OpenAI) -> None:
    """A file becomes a batch, and its answers are in input order."""
    batch = start(client, chat_file(f"main path {i}" for i in range(150)), metadata={"job": "7"})
    assert batch.object == "batch"
    assert batch.status == "validating"
    done = finish(client, batch)
    assert done.status == "completed"
    assert done.metadata == {"job": "7"}
    assert done.model == "echo-1"
    assert done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (150, 150, 0)
    assert done.error_file_id is None
    answers = lines(client, done.output_file_id)
    assert [a["custom_id"] for a in answers] == [f"r{i}" for i in range(150)]
    assert len({a["id"] for a in answers}) == 150
    assert all(a["error"] is None and a["response"]["status_code"] == 200 for a in answers)
    assert answers[3]["response"]["body"]["choices"][0]["message"]["content"] == "echo: main path 3"
    assert answers[3]["response"]["request_id"] == "req_1"


def test_times_and_usage(client: OpenAI) -> None:
    """A completed batch has the time of each status, and the tokens of all answers."""
    done = finish(client, start(client, chat_file(["one two three", "one"])))
    times = [done.created_at, done.in_progress_at, done.finalizing_at, done.completed_at]
    assert all(isinstance(t, int) for t in times)
    assert times == sorted(times, key=lambda t: t or 0)
    assert done.expires_at == done.created_at + 86_400
    assert done.usage is not None
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens) == (4, 6, 10)


def test_usage_in_the_new_naming(client: OpenAI) -> None:
    """The usage of the Responses API, with its other names, is added up."""
    line = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "echo-1", "input": "a b"}}
    done = finish(client, start(client, json.dumps(line).encode(), endpoint="/v1/responses"))
    assert done.usage is not None
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens) == (2, 3, 5)
    assert done.usage.input_tokens_details.cached_tokens == 1
    assert done.usage.output_tokens_details.reasoning_tokens == 1


@pytest.mark.parametrize(
    ("endpoint", "body", "key"),
    [
        ("/v1/completions", {"prompt": "hi"}, "choices"),
        ("/v1/embeddings", {"input": ["hi", "there"]}, "data"),
        ("/v1/moderations", {"input": "hi"}, "results"),
        ("/v1/score", {"text_1": "hi", "text_2": ["ho"]}, "data"),
        ("/v1/rerank", {"query": "hi", "documents": ["ho", "he"]}, "results"),
        ("/v1/images/generations", {"prompt": "hi"}, "data"),
    ],
)
def test_every_endpoint(client: OpenAI, endpoint: str, body: dict[str, object], key: str) -> None:
    """Each JSON endpoint works in a batch."""
    line = {"custom_id": "only", "method": "POST", "url": endpoint, "body": {"model": "echo-1", **body}}
    done = finish(client, start(client, json.dumps(line).encode(), endpoint=endpoint))
    (answer,) = lines(client, done.output_file_id)
    assert answer["response"]["body"][key]


def test_upstream_bytes_are_kept(client: OpenAI) -> None:
    """The body of an answer is copied unchanged, except for line breaks."""
    done = finish(client, start(client, chat_file(["!pretty", "spaced"])))
    content = client.files.content(str(done.output_file_id)).content.splitlines()
    assert json.loads(content[0])["response"]["body"]["choices"][0]["message"]["content"] == "echo: !pretty"
    assert b'"object": "chat.completion"' in content[1]  # the echo writes a space after each colon, unlike obatch


def test_files(client: OpenAI) -> None:
    """A file can be described, read, listed and deleted; afterwards it is not found."""
    content = chat_file(["files"])
    made = client.files.create(
        file=("näme.jsonl", content), purpose="batch", expires_after={"anchor": "created_at", "seconds": 7200}
    )
    assert (made.bytes, made.filename, made.purpose) == (len(content), "näme.jsonl", "batch")
    assert made.expires_at == made.created_at + 7200
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == content
    assert made.id in [f.id for f in client.files.list(purpose="batch")]
    assert client.files.delete(made.id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    assert made.id not in [f.id for f in client.files.list()]


@pytest.mark.slow
def test_pagination(tmp_path: Path, echo: EchoUpstream) -> None:
    """Lists have pages: batches newest first, files in the requested order, each item once."""
    with local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        files = [client.files.create(file=(f"{i}.jsonl", chat_file(["x"])), purpose="batch").id for i in range(5)]
        create = client.batches.create
        batches = [create(input_file_id=f, endpoint="/v1/chat/completions", completion_window="24h").id for f in files]
        assert [b.id for b in client.batches.list(limit=2)] == batches[::-1]
        page = client.batches.list(limit=2)
        assert page.has_more
        assert [b.id for b in page.data] == batches[:2:-1]
        assert not client.batches.list(limit=5).has_more
        assert [b.id for b in client.batches.list(after=batches[1])] == [batches[0]]
        for batch in batches:
            finish(client, client.batches.retrieve(batch))
        assert [f.id for f in client.files.list(purpose="batch", limit=2)] == files[::-1]
        assert [f.id for f in client.files.list(purpose="batch", limit=2, order="asc")] == files
        assert len(list(client.files.list(purpose="batch_output"))) == 5


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=batch_nobody", "limit=-1"])
def test_bad_pages(server: LocalServer, query: str) -> None:
    """An invalid page is an error that names the parameter."""
    status, _, body = server.request("GET", f"/v1/batches?{query}")
    assert status in {400, 404}
    assert json.loads(body)["error"]["param"] in {"limit", "after"}


def test_range_and_etag(client: OpenAI, server: LocalServer) -> None:
    """Content has a length and an ETag; a range is sent only if If-Range matches the ETag."""
    content = chat_file(["range"] * 50)
    file = client.files.create(file=("r.jsonl", content), purpose="batch")
    path = f"/v1/files/{file.id}/content"
    status, headers, body = server.request("GET", path)
    assert (status, body, headers["content-length"]) == (200, content, str(len(content)))
    assert headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    status, part, body = server.request("GET", path, headers={"Range": "bytes=100-", "If-Range": headers["etag"]})
    assert (status, body) == (206, content[100:])
    assert part["content-range"] == f"bytes 100-{len(content) - 1}/{len(content)}"
    status, _, body = server.request("GET", path, headers={"Range": "bytes=100-", "If-Range": '"other"'})
    assert (status, body) == (200, content)
    status, _, _ = server.request("GET", path, headers={"Range": f"bytes={len(content)}-"})
    assert status == 416


def test_models(client: OpenAI) -> None:
    """The upstream's models are listed."""
    assert {m.id for m in client.models.list()} == {"echo-1", "echo-embed", "llama:latest"}


def test_synchronous_calls(client: OpenAI, server: LocalServer) -> None:
    """Single requests are forwarded to the upstream: plain, streamed, as form data, and with their errors."""
    chat = client.chat.completions.create(model="echo-1", messages=[{"role": "user", "content": "hi"}])
    assert chat.choices[0].message.content == "echo: hi"
    pieces = client.chat.completions.create(model="echo-1", messages=[{"role": "user", "content": "ho"}], stream=True)
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == "echo: ho"
    assert client.embeddings.create(model="e", input="x", encoding_format="float").data[0].embedding
    assert client.audio.transcriptions.create(model="w", file=("a.wav", b"RIFF")).text == "echo: audio"
    with pytest.raises(openai.RateLimitError, match="asked to fail"):
        client.chat.completions.create(model="echo-1", messages=[{"role": "user", "content": "!status=429"}])
    status, _, body = server.request(
        "POST", "/v1/score", b'{"model":"m","text_1":"a","text_2":"b"}', {"Content-Type": "application/json"}
    )
    assert status == 200
    assert json.loads(body)["data"]


def test_unknown_addresses(server: LocalServer) -> None:
    """An unknown path or method gets an error in the format of the API."""
    for method, path, expected in (
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/batches", 405),
        ("GET", "/v1/files/../store.db", 404),
    ):
        status, _, body = server.request(method, path)
        assert status == expected
        assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/nothing"}, "endpoint"),
        ({"endpoint": "/v1/audio/speech"}, "endpoint"),
        ({"completion_window": "1 day"}, "completion_window"),
        ({"completion_window": "15d"}, "completion_window"),
        ({"completion_window": "0h"}, "completion_window"),
        ({"input_file_id": "file-nobody"}, "input_file_id"),
        ({"input_file_id": None}, "input_file_id"),
        ({"metadata": {"k": 7}}, "metadata[...]"),
        ({"metadata": {str(i): "x" for i in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
    ],
)
def test_create_is_checked(client: OpenAI, server: LocalServer, change: dict[str, object], param: str) -> None:
    """An invalid create request is refused, and the error names the parameter."""
    file = client.files.create(file=("c.jsonl", chat_file(["x"])), purpose="batch")
    request = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **change}
    status, _, body = server.request(
        "POST", "/v1/batches", json.dumps(request).encode(), {"Content-Type": "application/json"}
    )
    assert status == 400
    assert json.loads(body)["error"]["param"] == param


def test_missing_parameter(server: LocalServer) -> None:
    """A create request without a required field is refused, and the error names the field."""
    status, _, body = server.request("POST", "/v1/batches", b"{}", {"Content-Type": "application/json"})
    error = json.loads(body)["error"]
    assert (status, error["code"], error["param"]) == (400, "missing_required_parameter", "input_file_id")


def test_idempotency_key(client: OpenAI, server: LocalServer) -> None:
    """The same key and request create one batch and give one answer; another request with that key is refused."""
    file = client.files.create(file=("i.jsonl", chat_file(["x"])), purpose="batch")
    request = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"key-{file.id}"}
    body = json.dumps(request).encode()
    first = server.request("POST", "/v1/batches", body, headers)
    finish(client, client.batches.retrieve(json.loads(first[2])["id"]))
    second = server.request("POST", "/v1/batches", body, headers)
    assert (first[0], first[2]) == (second[0], second[2])
    assert len([b for b in client.batches.list() if b.input_file_id == file.id]) == 1
    status, _, answer = server.request(
        "POST", "/v1/batches", json.dumps({**request, "completion_window": "48h"}).encode(), headers
    )
    assert (status, json.loads(answer)["error"]["code"]) == (409, "idempotency_key_reused")


def test_idempotency_key_at_once(client: OpenAI, server: LocalServer) -> None:
    """Simultaneous creates with the same key make one batch."""
    file = client.files.create(file=("i.jsonl", chat_file(["x"])), purpose="batch")
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"at once {file.id}"}
    body = json.dumps({"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}).encode()
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: server.request("POST", "/v1/batches", body, headers), range(48)))
    assert {status for status, _, _ in answers} == {200}
    assert len({content for _, _, content in answers}) == 1
    assert len([b for b in client.batches.list() if b.input_file_id == file.id]) == 1


@pytest.mark.slow
def test_input_in_use_stays(tmp_path: Path, echo: EchoUpstream) -> None:
    """The input file of a batch that has not ended cannot be deleted."""
    with local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        batch = start(client, chat_file(["!sleep=2"]))
        with pytest.raises(openai.ConflictError):
            client.files.delete(batch.input_file_id)
        client.batches.cancel(batch.id)
        finish(client, batch)
        assert client.files.delete(batch.input_file_id).deleted


@pytest.mark.parametrize("purpose", ["fine-tune", ""])
def test_other_purposes(client: OpenAI, purpose: str) -> None:
    """Any purpose other than `batch` is refused."""
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("x.jsonl", b"{}"), purpose=purpose)  # type: ignore[arg-type]


def test_size_limit(tmp_path: Path, echo: EchoUpstream) -> None:
    """A file that is too large is refused with 413 and not kept."""
    with local_server(tmp_path, upstream=echo.base_url, max_bytes=1000) as server, server.client() as client:
        with pytest.raises(openai.APIStatusError) as refused:
            client.files.create(file=("x.jsonl", b"x" * 1001), purpose="batch")
        assert refused.value.status_code == 413
        assert client.files.create(file=("x.jsonl", b"x" * 1000), purpose="batch").bytes == 1000
        assert len(list((tmp_path / "local" / "files").iterdir())) == 1
