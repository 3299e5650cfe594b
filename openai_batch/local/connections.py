"""Limits of the server's connections, so that other users can neither use all of them nor keep one for long.

Another user of the machine can connect to a loopback port. Until a request on it has the token, a
connection lasts a few seconds at most, and if there are too many of these, the oldest is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

HEAD_SECONDS = 10  # seconds for the head of a request, and for a new connection until a request with the token

_MOST_STRANGERS = 1024
_OPEN_FILES = 8192


class LimitedProtocol(H11Protocol):
    """uvicorn's HTTP, with limits for connections without a token and for the time that the head of a request takes."""

    _clock: asyncio.TimerHandle | None = None  # closes the connection, unless a request with the token comes first

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._routed = self.app
        self.app = self._run
        self._strangers: dict[LimitedProtocol, None] = self.app_state.setdefault("strangers", {})  # oldest first

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        await self._routed({**scope, "connection": self}, receive, send)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a new connection; if there are too many without a token, the oldest of them is closed."""
        super().connection_made(transport)
        while len(self._strangers) >= _most_strangers():
            next(iter(self._strangers)).drop()
        self._strangers[self] = None
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Read on. The head of the owner's next request has the same time as that of the first."""
        if self._clock is None and (self.cycle is None or self.cycle.response_complete):
            self._start_clock()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.keep()
        super().connection_lost(exc)

    def keep(self) -> None:
        """Stop the clock, and do not count the connection as one without a token."""
        self._strangers.pop(self, None)
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _start_clock(self) -> None:
        self._clock = self.loop.call_later(HEAD_SECONDS, self.drop)

    def drop(self) -> None:
        """Close the connection at once."""
        self.keep()
        self.transport.abort()


def allow_many_connections() -> int:
    """Raise this process's limit of open files if that is useful and allowed; return how many may have no token."""
    import resource  # POSIX only

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return _most_strangers()


def _most_strangers() -> int:
    """Return a quarter of the open files: as many again wait to be accepted, and as many are about to be closed."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_STRANGERS if soft == resource.RLIM_INFINITY else min(_MOST_STRANGERS, soft // 4)
