"""The embedded engine with its real model."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from support.batch import finish, lines, start, wait_for_successes
from support.servers import LocalServer, local_server, wait_until

from openai_batch.local.engine import _quota_v1, _quota_v2, _socket_folder, usable_cores

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "SmolLM2-135M-Instruct"
SCHEMA = {
    "type": "object",
    "properties": {"sentiment": {"enum": ["positive", "negative"]}},
    "required": ["sentiment"],
    "additionalProperties": False,
}


def _line(number: int) -> dict[str, Any]:
    verb = ("hated", "loved")[number % 2]
    body = {
        "model": MODEL,
        "temperature": 0,
        "messages": [{"role": "user", "content": f"What is the sentiment of: I {verb} this film, all {number} hours"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
    }
    return {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LocalServer]:
    """Run a server with the embedded engine; the model is cached in OBATCH_TEST_MODEL_CACHE, if set."""
    cache = os.environ.get("OBATCH_TEST_MODEL_CACHE", str(tmp_path / "cache"))
    with local_server(tmp_path, env={"OBATCH_CACHE_DIR": cache}) as server:
        wait_until(lambda: server.request("GET", "/health")[0] == 200, "the start of the engine")
        yield server


def _processes(parent: int) -> list[int]:
    """Return the process ids of the engines of a server."""
    return [int(p) for p in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _listens(pid: int) -> bool:
    """Return whether a process listens on a TCP port."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()]
    return any(row[3] == "0A" and f"socket:[{row[9]}]" in links for row in rows)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes in /proc")
def test_engine(engine: LocalServer) -> None:
    """A batch continues after its server and an engine were killed, and engines end with their server."""
    with engine.client() as client:
        batch = start(client, "".join(json.dumps(_line(i)) + "\n" for i in range(40)).encode())
        wait_for_successes(client, batch, 3)
    orphans = _processes(engine.pid)
    assert _listens(engine.pid)
    assert [_listens(pid) for pid in orphans] == [False] * usable_cores(), "another user could connect to an engine"
    engine.kill()
    wait_until(lambda: not any(_alive(pid) for pid in orphans), "the end of the engines")
    engine.start()
    with engine.client() as client:
        wait_for_successes(client, batch, 5)
        os.kill(_processes(engine.pid)[0], signal.SIGKILL)
        done = finish(client, batch)
        answers = lines(client, done.output_file_id)
        assert [a["custom_id"] for a in answers] == [f"r{i}" for i in range(40)]
        texts = [json.loads(a["response"]["body"]["choices"][0]["message"]["content"]) for a in answers]
        assert all(text["sentiment"] in {"positive", "negative"} for text in texts)
        assert done.usage is not None
        assert done.usage.output_tokens > 0

        line = {"custom_id": "e", "method": "POST", "url": "/v1/embeddings", "body": {"model": MODEL, "input": "hi"}}
        vectors = finish(client, start(client, json.dumps(line).encode(), endpoint="/v1/embeddings"))
        (answer,) = lines(client, vectors.output_file_id)
        assert len(answer["response"]["body"]["data"][0]["embedding"]) == 576

        assert [m.id for m in client.models.list()] == [MODEL, MODEL.lower()]
        story = client.chat.completions.create(
            model=MODEL.lower(), messages=[{"role": "user", "content": "Count up from 1 and never stop: 1, 2, 3,"}]
        )
        assert story.usage is not None
        assert story.usage.completion_tokens <= 512
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="gpt-4", messages=[])
        with pytest.raises(openai.BadRequestError, match="does not support"):
            client.moderations.create(model=MODEL, input="x")
        with pytest.raises(openai.BadRequestError, match="context"):
            client.completions.create(model=MODEL, prompt="word " * 5000)
        unknown = {**line, "body": {"model": "gpt-4", "input": "hi"}}
        failed = finish(client, start(client, json.dumps(unknown).encode(), endpoint="/v1/embeddings"))
        assert failed.errors is not None
        assert [e.code for e in failed.errors.data or []] == ["model_not_found"]


@pytest.mark.slow
@pytest.mark.model
def test_what_the_engine_cannot_do(engine: LocalServer) -> None:
    """Parameters that the engine does not support, and inputs that are too long, are refused with 400."""
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    bodies: list[dict[str, Any]] = [
        {},
        {"tools": [tool], "tool_choice": "required"},
        {"messages": [{"role": "user", "content": [image]}]},
        {"n": 2},
    ]
    content = "".join(json.dumps({**_line(i), "body": {**chat, **body}}) + "\n" for i, body in enumerate(bodies))
    long = {"custom_id": "e", "method": "POST", "url": "/v1/embeddings", "body": {"model": MODEL, "input": "a " * 5000}}
    with engine.client() as client:
        done = finish(client, start(client, content.encode()))
        assert [line["custom_id"] for line in lines(client, done.output_file_id)] == ["r0"]
        responses = [line["response"] for line in lines(client, done.error_file_id)]
        assert [(r["status_code"], r["body"]["error"]["param"]) for r in responses] == [
            (400, "tools"),
            (400, "messages"),
            (400, "n"),
        ]
        failed = finish(client, start(client, json.dumps(long).encode(), endpoint="/v1/embeddings"))
        (error,) = lines(client, failed.error_file_id)
        assert error["response"]["status_code"] == 400
        assert "tokens, and the embedded engine takes 2,048" in error["response"]["body"]["error"]["message"]
        with pytest.raises(openai.BadRequestError, match="the embedded engine takes 2,048"):
            client.embeddings.create(model=MODEL, input="a " * 5000)
        with pytest.raises(openai.BadRequestError, match="tool_choice"):
            client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "hi"}], tool_choice="required"
            )


@pytest.mark.parametrize("folder", ["state", "long" * 50])
def test_the_folder_of_the_sockets_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """The folder of the sockets has mode 0700, even if the path of the state folder is too long for sockets."""
    monkeypatch.setenv("OBATCH_STATE_DIR", str(tmp_path / folder))
    before = os.umask(0)
    try:
        made = _socket_folder()
    finally:
        os.umask(before)
    assert made.stat().st_mode & 0o777 == 0o700
    made.rmdir()


def test_usable_cores() -> None:
    """There is at least one usable core, and no more than the machine has."""
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("text", "cores"), [("200000 100000", 2), ("50000 100000", 0.5), ("max 100000", float("inf"))])
def test_quotas(tmp_path: Path, text: str, cores: float) -> None:
    """The CPU quotas of both versions of control groups are read; a missing file means no quota."""
    (tmp_path / "cpu.max").write_text(text)
    assert _quota_v2(tmp_path / "cpu.max") == cores
    assert _quota_v2(tmp_path / "none") == float("inf")
    (tmp_path / "cpu.cfs_quota_us").write_text(text.split(maxsplit=1)[0].replace("max", "-1"))
    (tmp_path / "cpu.cfs_period_us").write_text("100000")
    assert _quota_v1(tmp_path) == cores
