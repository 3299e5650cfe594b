"""Multipart uploads with the OpenAI client."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import openai
import pytest
from support.batch import chat_file, counts_of, finish
from support.servers import local_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openai import OpenAI
    from openai.types import Upload
    from support.servers import EchoUpstream, LocalServer

pytestmark = pytest.mark.slow

CONTENT = chat_file(f"prompt {number}" for number in range(50))


def create(client: OpenAI, size: int = len(CONTENT)) -> Upload:
    """Create an upload of `size` bytes."""
    return client.uploads.create(bytes=size, filename="in.jsonl", mime_type="text/jsonl", purpose="batch")


def test_a_file_in_parts_becomes_a_batch(client: OpenAI, tmp_path: Path) -> None:
    """A file that is uploaded in parts keeps its name and bytes, and can be run as a batch."""
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(CONTENT)
    digest = hashlib.md5(CONTENT).hexdigest()  # noqa: S324 - as the API has it
    done = client.uploads.upload_file_chunked(
        file=path, mime_type="text/jsonl", purpose="batch", part_size=1000, md5=digest
    )
    assert (done.status, done.bytes) == ("completed", len(CONTENT))
    assert done.file is not None
    assert (done.file.filename, done.file.bytes, done.file.purpose) == ("prompts.jsonl", len(CONTENT), "batch")
    assert client.files.content(done.file.id).content == CONTENT
    batch = client.batches.create(input_file_id=done.file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert counts_of(client, finish(client, batch)) == (50, 50, 0)


def test_parts_at_once_and_in_any_order(client: OpenAI) -> None:
    """The completing request decides the order of the parts, and completing twice makes one file."""
    upload = create(client)
    pieces = [CONTENT[at : at + 700] for at in range(0, len(CONTENT), 700)]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda piece: client.uploads.parts.create(upload.id, data=piece), reversed(pieces)))
    ids = [part.id for part in reversed(parts)]
    assert {part.upload_id for part in parts} == {upload.id}
    done = [client.uploads.complete(upload.id, part_ids=ids).file for _ in range(2)]
    assert done[0] is not None
    assert done[0] == done[1]
    assert client.files.content(done[0].id).content == CONTENT


def test_invalid_uploads_are_refused(client: OpenAI) -> None:
    """An upload must be complete to become a file, and cannot be changed after it has ended."""
    upload = create(client)
    part = client.uploads.parts.create(upload.id, data=CONTENT[:-1])
    faults: list[tuple[Callable[[], object], str]] = [
        (lambda: client.uploads.complete(upload.id, part_ids=[part.id]), "the upload was created for"),
        (lambda: client.uploads.complete(upload.id, part_ids=["part_x"]), "no part part_x"),
        (lambda: client.uploads.complete("upload_x", part_ids=[]), "no upload upload_x"),
        (lambda: client.uploads.parts.create(upload.id, data=b"too much"), "too large"),
        (lambda: client.uploads.parts.create(upload.id, data=b""), "empty"),
        (lambda: create(client, 1 << 40), "too large"),
        (lambda: create(client, 0), "bytes"),
    ]
    for call, text in faults:
        with pytest.raises(openai.APIStatusError, match=text) as fault:
            call()
        assert fault.value.status_code < 500
    last = client.uploads.parts.create(upload.id, data=CONTENT[-1:])
    with pytest.raises(openai.BadRequestError, match="another MD5"):
        client.uploads.complete(upload.id, part_ids=[part.id, last.id], md5="0" * 32)
    assert client.uploads.cancel(upload.id).status == "cancelled"
    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled already"):
        client.uploads.complete(upload.id, part_ids=[part.id, last.id])
    with pytest.raises(openai.BadRequestError, match="cancelled already"):
        client.uploads.parts.create(upload.id, data=b"x")


def test_parts_survive_a_crash_and_expire(tmp_path: Path, echo: EchoUpstream) -> None:
    """Parts are kept when the server is killed, and an upload is deleted an hour after its creation."""
    folder = tmp_path / "local" / "uploads"
    with local_server(tmp_path, upstream=echo.base_url) as server:
        with server.client() as client:
            upload, left = create(client), create(client)
            parts = [client.uploads.parts.create(upload.id, data=data).id for data in (CONTENT[:900], CONTENT[900:])]
            client.uploads.parts.create(left.id, data=b"left")
        server.kill()
        state = folder / left.id / "upload.json"
        state.write_text(json.dumps(json.loads(state.read_text()) | {"created_at": time.time() - 3601}))
        (folder / "upload_begun").mkdir()
        server.start()
        with server.client() as client:
            done = client.uploads.complete(upload.id, part_ids=parts)
            assert done.file is not None
            assert client.files.content(done.file.id).content == CONTENT
        assert [path.name for path in folder.iterdir()] == [upload.id]
        assert [path.name for path in (folder / upload.id).iterdir()] == ["upload.json"]
        assert {path.stat().st_mode & 0o077 for path in folder.rglob("*")} == {0}


def test_one_model(client: OpenAI, server: LocalServer) -> None:
    """A model is looked up by its name, which may contain slashes; an unknown one is not found."""
    assert client.models.retrieve("echo-1").id == "echo-1"
    with pytest.raises(openai.NotFoundError, match="there is no model 'org/none'"):
        client.models.retrieve("org/none")
    assert server.request("GET", "/v1/models/echo-1")[0] == 200
