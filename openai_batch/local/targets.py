"""The servers that run requests, and the choice among them: each has a limit of requests at a time.

A target that responds with 429, times out, or has a long queue gets fewer requests; each response then raises its limit
a little. One that asks for a pause gets it. One that cannot be reached gets no requests until it can.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_SHRINK_EVERY = 1.0
_SHORT_QUEUE = 4


class CallError(Exception):
    """There was no response that can be used.

    `code` is `connection_error`, `timeout`, `invalid_response`, `engine_failed` or `response_too_large`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotSentError(CallError):
    """A target could not be reached, so nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__("connection_error", message)


@dataclass(slots=True, eq=False)
class Target:
    """One server that runs requests."""

    base: str  # its base URL, with the version in its path
    key: str | None = field(repr=False)  # its API key, if it needs one
    limit: int  # requests that it may have at a time when all is well
    alive: bool = True  # whether it can be asked at all
    # The socket file of the embedded engine; None for an upstream, which refuses unsupported requests itself.
    socket: str | None = None
    per_minute: int | None = None  # most requests that it may get in a minute
    models: frozenset[str] | None = None  # the model names that it has listed; None if it has not, which may mean any
    any_model: bool = False  # whether it accepts every name, although it lists one
    has_queue: bool = True  # whether it may say how many requests wait there; False after it has shown that it does not
    crowded: bool = False  # whether its queue was long at the last look
    # Why it cannot be asked, or why the last request there has to be sent again; None if all is well.
    trouble: str | None = None
    active: int = 0  # requests that it has now
    allowed: float = field(init=False)  # requests that it may have now; less than `limit` after an overload
    shrunk_at: float = 0.0  # when `allowed` was last halved, by the steady clock
    rest: asyncio.TimerHandle | None = None  # the end of its pause; None if it has none

    def __post_init__(self) -> None:
        self.allowed = float(self.limit)

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded engine."""
        return self.socket is not None

    @property
    def name(self) -> str:
        """What messages call it."""
        return "the engine" if self.embedded else f"the upstream at {urlsplit(self.base).netloc}"

    @property
    def free(self) -> bool:
        """Whether one more request may be sent there."""
        return self.alive and self.active < int(self.allowed) and self.rest is None

    def url(self, path: str) -> str:
        """Return the URL of a path of the API, such as `/v1/models`, or of one beside it, such as `/metrics`."""
        if path.startswith("/v1/"):
            return self.base + path.removeprefix("/v1")
        return self.base.removesuffix("/v1") + path

    def runs(self, model: str | None) -> bool:
        """Return whether it lists the model, or may have it."""
        return model is None or self.models is None or known(model, self.models)

    def grow(self) -> None:
        """Raise the limit a little, after a response; not while the queue is long."""
        if self.allowed < self.limit and not self.crowded:
            self.allowed = min(float(self.limit), self.allowed + 1 / self.allowed)

    def shrink(self) -> None:
        """Halve the limit; once for all requests that met the same overload."""
        now = time.monotonic()
        if now - self.shrunk_at >= _SHRINK_EVERY:
            self.shrunk_at = now
            self.allowed = max(1.0, self.allowed / 2)

    def fit(self, waiting: int) -> None:
        """Lower the limit if more than a quarter as many requests as the limit allows wait in its queue."""
        excess = waiting - max(_SHORT_QUEUE, self.limit // 4)
        self.crowded = excess > 0
        if self.crowded:
            self.allowed = max(1.0, min(self.allowed, float(self.active - excess)))


def known(model: str, models: Collection[str]) -> bool:
    """Return whether `model` is one of the names that a server lists."""
    # Ollama lists `name:latest` and accepts `name`; a gateway may list `*` for any name.
    return model in models or f"{model}:latest" in models or any("*" in name for name in models)


class _Wish(NamedTuple):
    """What a waiting request asks for."""

    avoid: Target | None  # where it has failed
    model: str | None  # the model that it needs; None if each target may run it
    patient: bool  # whether it waits while no target can be reached
    task: asyncio.Task[Any] | None  # what runs it


class Pool:
    """All targets, and the requests that wait for one. Belongs to one event loop."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = list(targets)
        self._waiting: dict[asyncio.Future[Target], _Wish] = {}
        self._failure: str | None = None

    async def acquire(self, avoid: Target | None, model: str | None, *, patient: bool) -> Target:
        """Wait for a free place at a target that may have the model, and take it.

        The place is at `avoid` only if no other such target can be reached. Raises NotSentError if none can be and the
        request is not `patient`, and CallError if it is known that there will be none.
        """
        if self._failure is not None:
            raise CallError("engine_failed", self._failure)
        free = [target for target in self._suitable(avoid, model) if target.free]
        if free:
            return self._take(min(free, key=lambda target: target.active / target.allowed))
        waiter: asyncio.Future[Target] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = _Wish(avoid, model, patient, asyncio.current_task())
        if not patient:
            self.fail_stranded()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())
            raise
        finally:
            self._waiting.pop(waiter, None)

    def release(self, target: Target) -> None:
        """Give a place back."""
        target.active -= 1
        self.offer(target)

    def offer(self, *targets: Target) -> None:
        """Give the free places of these targets, or of all, to the requests that have waited longest."""
        for target in (targets or self.targets) if self._waiting else ():
            for waiter, wish in tuple(self._waiting.items()):
                if not target.free:
                    break
                if not waiter.done() and target in self._suitable(wish.avoid, wish.model):
                    del self._waiting[waiter]
                    waiter.set_result(self._take(target))

    def pause(self, target: Target, seconds: float) -> None:
        """Let no request start at the target for some seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if target.rest is not None:
            if target.rest.when() >= until:
                return
            target.rest.cancel()
        target.rest = loop.call_at(until, self._resume, target)

    def fail(self, message: str) -> None:
        """Let all requests that wait for a target fail with `message`: there will be none."""
        self._failure = message
        for waiter in tuple(self._waiting):
            self._refuse(waiter, CallError("engine_failed", message))

    def fail_stranded(self) -> None:
        """Let the requests fail for which no target can be reached, except the patient ones."""
        for waiter, wish in tuple(self._waiting.items()):
            if not wish.patient and (away := self.away(wish.model)):
                self._refuse(waiter, NotSentError(away[0].trouble or f"{away[0].name} could not be reached"))

    def away(self, model: str | None) -> list[Target]:
        """Return the targets that a request for the model may go to if none of them can be reached, else an empty list.

        The engine is not away: it is started again, or `fail` says that it is not.
        """
        able = self._suitable(None, model)
        return [] if any(target.alive or target.embedded for target in able) else able

    def missed(self, tasks: Collection[asyncio.Task[Any]] | None = None) -> Target | None:
        """Return a target that cannot be reached, and for which a request waits; None if there is none.

        Only the requests that `tasks` run count, or all if it is None. Any thread may call it.
        """
        if all(target.alive for target in self.targets):
            return None
        wishes = tuple(self._waiting.values())  # at once: the loop changes them while another thread reads
        wanted = (wish for wish in wishes if tasks is None or wish.task in tasks)
        return next((target for wish in wanted for target in self.away(wish.model)), None)

    def alone(self, target: Target | None) -> bool:
        """Return whether no other target can be reached."""
        return not any(other.alive for other in self.targets if other is not target)

    def _suitable(self, avoid: Target | None, model: str | None) -> list[Target]:
        """Return the targets that a request may go to. A model that none of them lists may be new at any of them."""
        able = [target for target in self.targets if target.runs(model)]
        able = able or [target for target in self.targets if target.any_model] or self.targets
        return [target for target in able if target is not avoid and target.alive] or able

    def _take(self, target: Target) -> Target:
        target.active += 1
        if target.per_minute is not None:
            self.pause(target, 60 / target.per_minute)
        return target

    def _resume(self, target: Target) -> None:
        target.rest = None
        self.offer(target)

    def _refuse(self, waiter: asyncio.Future[Target], error: CallError) -> None:
        del self._waiting[waiter]
        if not waiter.done():
            waiter.set_exception(error)
