"""The body of a request must not arrive too slowly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from openai_batch.local import api_objects


async def read(pieces: list[bytes], delay: float) -> int:
    """Return the size of a body whose pieces come one after the other, each after `delay` seconds."""
    waiting = list(pieces)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(delay)
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    return sum([len(piece) async for piece in api_objects.read_body(Request({"type": "http"}, receive))])


@pytest.mark.slow
def test_a_body_that_arrives_too_slowly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of single bytes is refused after a time limit, and a slow body that continues is read to its end."""
    monkeypatch.setattr(api_objects, "STALL_SECONDS", 0.5)
    assert asyncio.run(read([b"x" * 70_000] * 20, 0.05)) == 1_400_000
    with pytest.raises(api_objects.Refused, match="did not arrive") as caught:
        asyncio.run(read([b"x"] * 1000, 0.05))
    assert caught.value.status == 408
