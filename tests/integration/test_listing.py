"""A listing of batches ends, whatever the server makes of the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.workbench import Workbench


@pytest.mark.parametrize(("shape", "pages"), [("", 3), ("noafter", 2), ("noafter,nohasmore", 2), ("nohasmore", 4)])
def test_a_listing_ends(workbench: Workbench, shape: str, pages: int) -> None:
    """A page that comes again, or no word on what follows, ends the listing; each batch is in it once."""
    api = workbench.api()
    with workbench.write(f"fault:shape={shape}").open("rb") as handle:
        file = api.upload(handle, "x.jsonl")
    made = [
        api.create(input_file_id=file.id, endpoint="/v1/chat/completions", window="24h", metadata=None).id
        for _ in range(5)
    ]
    cut: list[int] = []
    listed = [batch.id for batch in api.batches(page_size=2, max_pages=20, on_cut=cut.append)]
    api.close()
    assert listed == (made[::-1][:2] if "noafter" in shape else made[::-1])
    assert len(workbench.server.seen("GET", "/batches")) == pages
    assert cut == ([2] if "noafter" in shape else [])
