"""Listing batches always ends, whatever pages the server sends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from openai_batch.providers.attempt import Attempt, new_token

if TYPE_CHECKING:
    from support.workbench import Workbench


@pytest.mark.parametrize(("shape", "pages"), [("", 3), ("noafter", 2), ("noafter,nohasmore", 2), ("nohasmore", 4)])
def test_a_listing_ends(workbench: Workbench, shape: str, pages: int) -> None:
    """A repeated page, or a missing `has_more`, does not prevent the end, and no batch is listed twice."""
    api = workbench.api()
    with workbench.write(f"fault:shape={shape}").open("rb") as handle:
        file = api.upload(handle, "x.jsonl")
    attempts = [Attempt(file.id, "/v1/chat/completions", "24h", new_token(), time.time()) for _ in range(5)]
    made = [api.create(attempt).id for attempt in attempts]
    cut: list[int] = []
    listed = [batch.id for batch in api.batches(page_size=2, max_pages=20, on_cut=cut.append)]
    api.close()
    assert listed == (made[::-1][:2] if "noafter" in shape else made[::-1])
    assert len(workbench.server.seen("GET", "/batches")) == pages
    assert cut == ([2] if "noafter" in shape else [])
