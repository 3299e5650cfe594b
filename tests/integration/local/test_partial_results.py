"""The results of a batch that is still running."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import openai
import pytest
from support.batch import chat_file, finish, lines, start, wait_for_successes
from support.servers import echo_upstream, local_server, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from openai import OpenAI

pytestmark = pytest.mark.slow


def read(client: OpenAI, name: str) -> dict[str, int]:
    """Return the status codes of the result lines so far, by custom_id."""
    content = client.files.content(name).content
    assert not content or content.endswith(b"\n")
    found = map(json.loads, content.splitlines())
    return {line["custom_id"]: line["response"]["status_code"] for line in found}


def test_results_so_far(tmp_path: Path) -> None:
    """`files.content` with the id of a running batch returns its finished lines, also after a crash."""
    texts = ["a", "!status=400 b", "c", "!sleep=3 d", "!sleep=60 e"]
    with echo_upstream() as echo, local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        batch = start(client, chat_file(texts))
        wait_until(lambda: read(client, batch.id) == {"r0": 200, "r1": 400, "r2": 200}, "the first results")
        batch = wait_for_successes(client, batch, 3)
        assert (batch.status, batch.output_file_id) == ("in_progress", None)
        assert list(read(client, batch.id)) == ["r0", "r1", "r2", "r3"]
        server.kill()
        server.start()
        with server.client() as again:
            assert list(read(again, batch.id)) == ["r0", "r1", "r2", "r3"]


def test_results_after_the_end(client: OpenAI) -> None:
    """After the batch has ended, the lines of both files are returned."""
    done = finish(client, start(client, chat_file(["a", "!status=400 b", "c"])))
    assert read(client, done.id) == {"r0": 200, "r2": 200, "r1": 400}
    assert len(lines(client, done.id)) == 3
    with pytest.raises(openai.NotFoundError):
        client.files.content("batch_none")


def test_a_batch_without_results(tmp_path: Path) -> None:
    """Before its first answer, a batch returns no lines."""
    with echo_upstream() as echo, local_server(tmp_path, upstream=echo.base_url) as server, server.client() as client:
        assert read(client, start(client, chat_file(["!sleep=60 a"])).id) == {}
