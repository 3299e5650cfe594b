"""Send one request to the upstream until its response is final: worth keeping, or the last there is time for."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from openai_batch.net.delays import delays, retry_after

from .upstream import CallError, Target, UpstreamResponse

if TYPE_CHECKING:
    from .upstream import Upstream

_PATIENCE = 4
"""An upstream that is away or busy gets this many times the tries of one that fails."""

_TOO_MANY = 429


async def final_response(
    upstream: Upstream, path: str, body: bytes, *, deadline: float, seconds: float, max_tries: int
) -> UpstreamResponse:
    """Return the final response to one request: the first that is not worth a retry, or the last one.

    `deadline` is in Unix seconds: no try starts and no pause ends after it. `seconds` is the time limit of one call.
    Raises CallError if the last try brought no response at all.
    """
    spent = 0.0
    pauses = delays(0.5, longest=30.0, spread=(0.5, 1.0))
    avoid: Target | None = None
    while True:
        left = deadline - time.time()
        pause = next(pauses)
        outcome: UpstreamResponse | CallError
        try:
            avoid, outcome = await upstream.call(path, body, seconds=max(0.001, min(seconds, left)), avoid=avoid)
        except CallError as exc:
            outcome, avoid = exc, exc.target
            spent += 1 / _PATIENCE if exc.code == "connection_error" else 1
            final = exc.code not in {"connection_error", "timeout"}
        else:
            spent += 1 / _PATIENCE if outcome.status == _TOO_MANY else 1
            final = not _worth_retry(outcome)
            asked = retry_after(outcome.headers)
            pause = pause if asked is None else asked
        if final or spent >= max_tries or time.time() + pause >= deadline:
            if isinstance(outcome, CallError):
                raise outcome
            return outcome
        await asyncio.sleep(pause)


def _worth_retry(response: UpstreamResponse) -> bool:
    """Tell whether the trouble may pass; an account without credit (`insufficient_quota`) does not refill."""
    if response.status == _TOO_MANY:
        return b"insufficient_quota" not in response.body
    return response.status in {408, 425} or (response.status >= 500 and response.status != 501)  # noqa: PLR2004 - HTTP's
