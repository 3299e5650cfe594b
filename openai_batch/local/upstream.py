"""What runs single requests: one or several OpenAI-compatible base URLs, each with a limit of requests at a time.

If a target responds with 429 or times out, its limit is halved; each response then raises it again a little.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import msgspec

from openai_batch.net.hosts import is_loopback

from .api_objects import Refused
from .engine_requests import check_failure, check_request
from .result_lines import is_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_CONNECT_SECONDS = 10
_SHRINK_EVERY = 1.0
_EXCERPT = 200


class CallError(Exception):
    """There was no response that can be used.

    `code` is `connection_error`, `timeout`, `invalid_response`, `engine_failed` or `response_too_large`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class UpstreamResponse:
    """A complete response of a target."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """The headers; names may be looked up in any case."""
    body: bytes
    """The body as it arrived."""

    def __str__(self) -> str:
        return f"the upstream answers HTTP {self.status}"


@dataclass(slots=True, eq=False)
class Target:
    """One server that runs requests."""

    base: str
    """Its base URL, with the version in its path."""
    key: str | None
    """Its API key, if it needs one."""
    limit: int
    """Requests that it may have at a time when all is well."""
    alive: bool = True
    """Whether it can be asked at all."""
    socket: str | None = None
    """The socket file of the embedded engine; None for an upstream, which refuses unsupported requests itself."""
    trouble: str | None = None
    """Why the last request there has to be sent again; None if it has not."""
    active: int = 0
    """Requests that it has now."""
    allowed: float = field(init=False)
    """Requests that it may have now; less than `limit` after an overload."""
    shrunk_at: float = 0.0
    """When `allowed` was last halved, by the steady clock."""

    def __post_init__(self) -> None:
        self.allowed = float(self.limit)

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded engine."""
        return self.socket is not None

    @property
    def free(self) -> bool:
        """Whether one more request may be sent there."""
        return self.alive and self.active < int(self.allowed)

    def grow(self) -> None:
        """Raise the limit a little, after a response."""
        if self.allowed < self.limit:
            self.allowed = min(float(self.limit), self.allowed + 1 / self.allowed)

    def shrink(self) -> None:
        """Halve the limit; once for all requests that met the same overload."""
        now = time.monotonic()
        if now - self.shrunk_at >= _SHRINK_EVERY:
            self.shrunk_at = now
            self.allowed = max(1.0, self.allowed / 2)


def base_url(url: str) -> str:
    """Return the URL that `/chat/completions` is appended to: for a URL without a path that is /v1, as at OpenAI."""
    url = url.rstrip("/")
    return url if urlsplit(url).path else f"{url}/v1"


class Upstream:
    """All targets, and the connections to them. Belongs to one event loop."""

    def __init__(self, targets: Sequence[Target], models: Sequence[str] | None = None) -> None:
        self.targets = list(targets)
        self._fixed_models = models
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._failure: str | None = None
        # Proxies in the environment are for other hosts, never for this machine.
        proxies = not all(target.embedded or is_loopback(urlsplit(target.base).hostname) for target in targets)
        self._sessions = {path: _session(path, trust_env=proxies) for path in {target.socket for target in targets}}

    @property
    def capacity(self) -> int:
        """The number of requests that may run at a time when all is well."""
        return sum(target.limit for target in self.targets)

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()

    def fail(self, message: str) -> None:
        """Let all requests that wait for a target fail with `message`: there will be none."""
        self._failure = message
        self.wake(len(self._waiting))

    def wake(self, count: int = 1) -> None:
        """Let up to `count` waiting requests search again for a free target."""
        while count > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    @property
    def trouble(self) -> str | None:
        """Why no target answers; None if one of them does."""
        troubles = [target.trouble for target in self.targets]
        return troubles[0] if all(troubles) else None

    async def call(self, target: Target, path: str, body: bytes, *, seconds: float) -> UpstreamResponse:
        """Send one request to a target and return its response.

        Raises CallError if there is none within `seconds`, or one of success without a JSON object, and Refused for a
        request that the embedded engine cannot run.
        """
        async with self._request(target, "POST", path, body, seconds=seconds) as reply:
            status, content = reply.status, await _read(reply)
        if 200 <= status < 300 and not is_object(content):  # noqa: PLR2004 - HTTP's own numbers
            text = content[:_EXCERPT].decode("utf-8", "replace")
            what = f"not with a JSON object: {text}" if text.strip() else "with an empty body"
            raise CallError("invalid_response", f"the upstream answered HTTP {status}, but {what}")
        if target.embedded and status >= 500:  # noqa: PLR2004
            check_failure(content)
        return UpstreamResponse(status, reply.headers, content)

    @asynccontextmanager
    async def forward(
        self, method: str, path: str, body: bytes, content_type: str, *, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a client's own request to a free target, and give the response as it arrives.

        Raises CallError, and Refused for a request that the embedded engine cannot run.
        """
        async with (
            self.slot(None) as target,
            self._request(target, method, path, body, seconds=seconds, content_type=content_type) as reply,
        ):
            if target.embedded and reply.status >= 500:  # noqa: PLR2004
                content = await _read(reply)
                check_failure(content)
                raise Refused(reply.status, content[:_EXCERPT].decode("utf-8", "replace"), code="engine_failed")
            yield reply

    async def models(self) -> list[str] | None:
        """Return the model names that the targets list; None if one of them does not list its models."""
        if self._fixed_models is not None:
            return list(self._fixed_models)
        lists = await asyncio.gather(*(self._models_of(target) for target in self.targets))
        known = [item for item in lists if item is not None]
        return sorted({name for item in known for name in item}) if len(known) == len(lists) else None

    async def _models_of(self, target: Target) -> list[str] | None:
        try:
            async with self._request(target, "GET", "/v1/models", None, seconds=_CONNECT_SECONDS) as reply:
                if reply.status != 200:  # noqa: PLR2004 - HTTP's OK
                    return None
                listed = msgspec.json.decode(await _read(reply), type=_Models)
                target.trouble = None
        except (CallError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return [item.id for item in listed.data]

    @asynccontextmanager
    async def slot(self, avoid: Target | None) -> AsyncIterator[Target]:
        """Wait for a free target (`avoid` only if no other is free), and reserve a place there. Raises CallError."""
        target = await self._acquire(avoid)
        try:
            yield target
        finally:
            target.active -= 1
            self.wake(1 + max(0, int(target.allowed) - target.active - 1))

    async def _acquire(self, avoid: Target | None) -> Target:
        while True:
            if self._failure is not None:
                raise CallError("engine_failed", self._failure)
            free = [target for target in self.targets if target.free]
            if free:
                best = min(free, key=lambda target: (target is avoid, target.active / target.allowed))
                best.active += 1
                return best
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.wake()
                raise

    @asynccontextmanager
    async def _request(
        self,
        target: Target,
        method: str,
        path: str,
        body: bytes | None,
        *,
        seconds: float,
        content_type: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if target.embedded and body is not None:
            check_request(path, body)
        headers = {"Accept-Encoding": "identity", "User-Agent": "openai-batch"}
        if body is not None:
            headers["Content-Type"] = content_type
        if target.key:
            headers["Authorization"] = f"Bearer {target.key}"
        try:
            # No redirects: they would send the key to another host.
            async with self._sessions[target.socket].request(
                method,
                target.base + path.removeprefix("/v1"),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS),
            ) as reply:
                if reply.status == 429:  # noqa: PLR2004 - too many requests
                    target.shrink()
                else:
                    target.grow()
                yield reply
        except TimeoutError as exc:
            target.shrink()
            raise CallError("timeout", f"no answer within {seconds:.0f} s") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise CallError("connection_error", f"the upstream could not be reached ({type(exc).__name__})") from exc


def _session(socket: str | None, *, trust_env: bool) -> aiohttp.ClientSession:
    """Return a session that connects to a socket file, or to hosts if that is None."""
    connector = aiohttp.TCPConnector(limit=0) if socket is None else aiohttp.UnixConnector(socket, limit=0)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=trust_env)


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in reply.content.iter_any():
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise CallError("response_too_large", f"the answer has over {MAX_ANSWER_BYTES:,} bytes")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
