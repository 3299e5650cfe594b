"""Batches share the upstream: a batch does not wait until another has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.batch import chat_file, finish, start
from support.servers import echo_upstream, local_server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_small_batch_does_not_wait_for_a_large_one(tmp_path: Path) -> None:
    """A batch of two requests ends while an earlier, large batch still runs."""
    with (
        echo_upstream() as echo,
        local_server(tmp_path, upstream=echo.base_url, concurrency=2) as server,
        server.client() as client,
    ):
        large = start(client, chat_file(f"!sleep=0.2 {number}" for number in range(2000)))
        small = finish(client, start(client, chat_file(["one", "two"])))
        assert small.status == "completed"
        assert client.batches.retrieve(large.id).status == "in_progress"
