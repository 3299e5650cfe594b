"""Tests for openai_batch.local.targets."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from openai_batch.local.targets import Pool, Target

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Let Python switch between threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("many_switches")
def test_another_thread_can_ask_what_is_missed() -> None:
    """Another thread can ask which target is missed while requests begin and end to wait."""
    away = Target("http://127.0.0.1:1/v1", None, 1, alive=False, models=frozenset({"large"}))
    pool = Pool([away, Target("http://127.0.0.1:2/v1", None, 1, models=frozenset({"small"}))])
    ended, errors = threading.Event(), list[str]()

    def look() -> None:
        while not ended.is_set() and not errors:
            try:
                pool.missed()
            except RuntimeError as exc:
                errors.append(str(exc))

    async def wait_and_end() -> None:
        await pool.acquire(None, "small", patient=True)
        for _ in range(300):
            waiting = [asyncio.create_task(pool.acquire(None, "small", patient=True)) for _ in range(30)]
            await asyncio.sleep(0)
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    thread = threading.Thread(target=look)
    thread.start()
    asyncio.run(wait_and_end())
    ended.set()
    thread.join()
    assert not errors
