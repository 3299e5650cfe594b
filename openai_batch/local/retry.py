"""Ask until the answer is final: an answer worth keeping, or no time or tries left."""

from __future__ import annotations

import asyncio
import random
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from .upstream import Answer, CallError, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .upstream import Upstream

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_PATIENCE = 4
"""An upstream that is away or busy gets this many times the tries of one that fails."""
_TOO_MANY = 429


async def final_answer(
    upstream: Upstream, path: str, body: bytes, *, deadline: float, seconds: float, max_tries: int
) -> Answer:
    """Return the final answer to one request: the first that is not worth a retry, or the last error.

    `deadline` is in Unix seconds; no try starts and no wait ends after it. `seconds` is the limit on one call.
    Raises CallError where not even an error answer came.
    """
    spent = 0.0
    delay = _FIRST_DELAY
    avoid: Target | None = None
    while True:
        left = deadline - time.time()
        wait: float | None = None
        outcome: Answer | CallError
        try:
            avoid, outcome = await upstream.call(path, body, seconds=max(0.001, min(seconds, left)), avoid=avoid)
        except CallError as exc:
            outcome, avoid = exc, exc.target
            spent += 1 / _PATIENCE if exc.code == "connection_error" else 1
            final = exc.code not in {"connection_error", "timeout"}
        else:
            spent += 1 / _PATIENCE if outcome.status == _TOO_MANY else 1
            final = not _worth_retry(outcome)
            wait = _retry_after(outcome.headers)
        pause = wait if wait is not None else delay * random.uniform(0.5, 1)  # noqa: S311 - jitter is no secret
        if final or spent >= max_tries or time.time() + pause >= deadline:
            if isinstance(outcome, CallError):
                raise outcome
            return outcome
        await asyncio.sleep(pause)
        delay = min(delay * 2, _LONGEST_DELAY)


def _worth_retry(answer: Answer) -> bool:
    if answer.status == _TOO_MANY:
        return b"insufficient_quota" not in answer.body
    return answer.status in {408, 425} or (answer.status >= 500 and answer.status != 501)  # noqa: PLR2004 - HTTP's


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the upstream asks to wait, if it says."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after", "")
        if not value:
            return None
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
