"""Send one request to the upstream until its response is final: a good one, or the last one before the time is over."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from openai_batch.net.delays import delays, retry_after

from .targets import CallError

if TYPE_CHECKING:
    from .running_requests import RunningRequests
    from .settings import LocalSettings
    from .targets import Target
    from .upstream import Upstream, UpstreamResponse

_PATIENCE = 4  # an upstream that is unreachable or busy gets this many times the tries of one that fails

_TOO_MANY = 429
_AWAY = frozenset({_TOO_MANY, 502, 503})
"""Statuses of an upstream that is busy, or away behind a gateway."""


async def final_response(
    upstream: Upstream, run: RunningRequests, body: bytes, settings: LocalSettings
) -> UpstreamResponse:
    """Return the final response to one request of a batch: the first that should not be retried, or the last one.

    No call continues after the batch's window, and none starts after the batch was stopped. A pause may be longer than
    the window: the end of the window ends it. Raises CallError if the last try brought no response, Refused if
    the embedded engine cannot run the request, and CancelledError if the batch is stopped between two tries.
    """
    spent = 0.0
    pauses = delays(0.5, longest=30.0, spread=(0.5, 1.0))
    avoid: Target | None = None
    while True:
        outcome: UpstreamResponse | CallError
        target: Target | None = None
        try:
            target = await upstream.acquire(avoid, body)
            try:
                with run.sending():
                    seconds = min(settings.timeout_seconds, run.expires_at - time.time())
                    outcome = await upstream.call(target, run.endpoint, body, seconds=max(0.001, seconds))
            finally:
                upstream.pool.release(target)
        except CallError as exc:
            outcome = exc
        again = _worth_retry(outcome)
        if target is not None:
            target.trouble = str(outcome) if again else None
        away = outcome.code == "connection_error" if isinstance(outcome, CallError) else outcome.status in _AWAY
        spent += 1 / _PATIENCE if away else 1
        if not again or spent >= settings.max_tries or run.stopped:
            if isinstance(outcome, CallError):
                raise outcome
            return outcome
        asked = None if isinstance(outcome, CallError) else retry_after(outcome.headers)
        avoid = target or avoid
        pause = next(pauses)
        await asyncio.sleep(asked if asked is not None and upstream.pool.alone(target) else pause)


def _worth_retry(outcome: UpstreamResponse | CallError) -> bool:
    """Return whether the problem may be temporary; an account without credit (`insufficient_quota`) is not."""
    if isinstance(outcome, CallError):
        return outcome.code in {"connection_error", "timeout", "invalid_response"}
    if outcome.status == _TOO_MANY:
        return b"insufficient_quota" not in outcome.body
    return outcome.status in {408, 425} or (outcome.status >= 500 and outcome.status != 501)  # noqa: PLR2004 - HTTP's
