"""Send one request to the upstream until its response is final: a good one, or the last one before the time is over."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from openai_batch.net.delays import delays, retry_after

from .targets import CallError, NotSentError
from .upstream import OF_A_GATEWAY

if TYPE_CHECKING:
    from .running_requests import RunningRequests
    from .settings import LocalSettings
    from .targets import Target
    from .upstream import Upstream, UpstreamResponse

_PATIENCE = 4  # an upstream that is busy gets this many times the tries of one that fails

_TOO_MANY = 429
_BUSY = frozenset({_TOO_MANY, 502, 503})
"""Statuses of an upstream that is busy, or away behind a gateway."""


async def final_response(
    upstream: Upstream, run: RunningRequests, body: bytes, settings: LocalSettings
) -> UpstreamResponse:
    """Return the final response to one request of a batch: the first that should not be retried, or the last one.

    Only what was sent counts as a try: while no upstream can be reached, the request waits. No call continues after the
    batch's window, and none starts after the batch was stopped. A pause may be longer than the window: the end of the
    window ends it. Raises CallError if the last try brought no response, Refused if the embedded engine cannot run the
    request, and CancelledError if the batch is stopped between two tries.
    """
    spent = 0.0
    pauses = delays(0.5, longest=30.0, spread=(0.5, 1.0))
    avoid: Target | None = None
    while True:
        outcome: UpstreamResponse | CallError
        target = await upstream.acquire(avoid, body)
        try:
            with run.sending():
                seconds = min(settings.timeout_seconds, run.expires_at - time.time())
                outcome = await upstream.call(target, run.endpoint, body, seconds=max(0.001, seconds))
        except CallError as exc:
            outcome = exc
        finally:
            upstream.pool.release(target)
        if _may_be_away(outcome):
            await upstream.check(target)
        again = _worth_retry(outcome)
        if target.alive:  # else it says why it is away
            target.trouble = str(outcome) if again else None
        spent += _cost(outcome)
        if not again or spent >= settings.max_tries or run.stopped:
            if isinstance(outcome, CallError):
                raise outcome
            return outcome
        asked = None if isinstance(outcome, CallError) else retry_after(outcome.headers)
        if not isinstance(outcome, NotSentError):
            avoid = target
        pause = next(pauses)
        await asyncio.sleep(asked if asked is not None and upstream.pool.alone(target) else pause)


def _cost(outcome: UpstreamResponse | CallError) -> float:
    """Return how many tries an outcome costs: none if nothing was sent."""
    if isinstance(outcome, CallError):
        return 0 if isinstance(outcome, NotSentError) else 1
    return 1 / _PATIENCE if outcome.status in _BUSY else 1


def _may_be_away(outcome: UpstreamResponse | CallError) -> bool:
    """Return whether the upstream may have gone away: the connection broke, or its gateway answers."""
    if isinstance(outcome, CallError):
        return outcome.code == "connection_error"
    return outcome.status in OF_A_GATEWAY


def _worth_retry(outcome: UpstreamResponse | CallError) -> bool:
    """Return whether the problem may be temporary; an account without credit (`insufficient_quota`) is not."""
    if isinstance(outcome, CallError):
        return outcome.code in {"connection_error", "timeout", "invalid_response"}
    if outcome.status == _TOO_MANY:
        return b"insufficient_quota" not in outcome.body
    return outcome.status in {408, 425} or (outcome.status >= 500 and outcome.status != 501)  # noqa: PLR2004 - HTTP's
