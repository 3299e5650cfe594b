"""Send single requests to one or several OpenAI-compatible base URLs, or to the embedded engine."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from openai_batch.net.delays import delays, retry_after
from openai_batch.net.hosts import is_loopback

from .api_objects import Refused
from .engine_requests import check_failure, check_request
from .queue_length import queue_length
from .result_lines import is_object
from .server_log import log
from .settings import UPSTREAM_CONCURRENCY
from .targets import CallError, Pool, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from .settings import LocalSettings

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_CONNECT_SECONDS = 5
_ASK_SECONDS = 10
"""Seconds for a connection, and for a whole answer about models or the queue."""

_EXCERPT = 200

_LOOK_SECONDS = 1.0  # seconds between two looks at the queue of a target that has requests
_LONGEST_PAUSE = 60.0  # the longest pause that a Retry-After can bring to all requests of a target, in seconds
_ASKED_TO_WAIT = frozenset({429, 503})  # statuses whose Retry-After is for all requests


@dataclass(slots=True)
class UpstreamResponse:
    """A complete response of a target."""

    status: int  # the HTTP status
    headers: Mapping[str, str]  # the headers; names may be looked up in any case
    body: bytes  # the body as it arrived

    def __str__(self) -> str:
        return f"the upstream answers HTTP {self.status}"


class Upstream:
    """All targets, and the connections to them. Belongs to one event loop."""

    def __init__(self, targets: Sequence[Target], models: Sequence[str] | None = None) -> None:
        self.pool = Pool(targets)
        self._fixed_models = models
        self._differ: bool | None = None if len(targets) > 1 and models is None else False
        self._listing = asyncio.Lock()
        self._watches: dict[Target, asyncio.Task[None]] = {}
        sessions = {way: _session(*way) for way in set(map(_way, targets))}
        self._sessions = {target: sessions[_way(target)] for target in targets}

    @property
    def capacity(self) -> int:
        """The number of requests that may run at a time when all is well."""
        return sum(target.limit for target in self.pool.targets)

    async def close(self) -> None:
        """Close all connections."""
        for watch in self._watches.values():
            watch.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        for session in set(self._sessions.values()):
            await session.close()

    @property
    def trouble(self) -> str | None:
        """Why no target answers; None if one of them does."""
        troubles = [target.trouble for target in self.pool.targets]
        return troubles[0] if all(troubles) else None

    async def call(self, target: Target, path: str, body: bytes, *, seconds: float) -> UpstreamResponse:
        """Send one request to a target and return its response.

        Raises CallError if there is none within `seconds`, or one of success without a JSON object, and Refused for a
        request that the embedded engine cannot run.
        """
        answer = await self._fetch(target, "POST", path, body, seconds=seconds)
        status, content = answer.status, answer.body
        if 200 <= status < 300 and not is_object(content):  # noqa: PLR2004 - HTTP's own numbers
            text = content[:_EXCERPT].decode("utf-8", "replace")
            what = f"not with a JSON object: {text}" if text.strip() else "with an empty body"
            raise CallError("invalid_response", f"the upstream answered HTTP {status}, but {what}")
        if target.embedded and status >= 500:  # noqa: PLR2004
            check_failure(content)
        return answer

    @asynccontextmanager
    async def forward(
        self, method: str, path: str, body: bytes, content_type: str, *, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a client's own request to a free target, and give the response as it arrives.

        Raises CallError, and Refused for a request that the embedded engine cannot run.
        """
        await self._look_again()
        target = await self.acquire(None, body)
        try:
            with self._translated(target, seconds):
                async with self._send(target, method, path, body, seconds, content_type) as reply:
                    self._adapt(target, reply)
                    if target.embedded and reply.status >= 500:  # noqa: PLR2004
                        content = await _read(reply)
                        check_failure(content)
                        raise Refused(reply.status, content[:_EXCERPT].decode("utf-8", "replace"), code="engine_failed")
                    yield reply
        finally:
            self.pool.release(target)

    async def models(self) -> list[str] | None:
        """Return the model names that the targets list now; None if one of them does not list its models.

        Targets that cannot be reached are asked again only if no other can.
        """
        if self._fixed_models is not None:
            return list(self._fixed_models)
        targets = self.pool.targets
        asked = [target for target in targets if target.alive] or targets
        answered = await asyncio.gather(*map(self._ask, asked))
        self._differ = len({target.models for target in targets}) > 1
        self.pool.offer()
        return (
            sorted({name for target in targets for name in target.models or ()})
            if sum(answered) == len(targets)
            else None
        )

    async def accepted_models(self) -> list[str] | None:
        """Return the model names that a request may have; None if any name has to be tried."""
        names = await self.models()
        return None if any(target.any_model for target in self.pool.targets) else names

    async def _ask(self, target: Target) -> bool:
        """Ask a target for its models, and note whether it can be reached; return whether it lists its models."""
        try:
            answer = await self._fetch(target, "GET", "/v1/models", None, seconds=_ASK_SECONDS)
            found = _decode_models(answer.body).data if answer.status == 200 else None  # noqa: PLR2004
        except CallError:
            return False
        except (msgspec.MsgspecError, UnicodeDecodeError):
            found = None
        if found is not None:
            target.models = frozenset(model.id for model in found)
            # A server of llama.cpp lists the file of its only model, and takes every name.
            target.any_model = [model.owned_by for model in found] == ["llamacpp"]
        target.trouble = None
        if not target.alive:
            log(f"{target.name} answers again")
            target.alive = target.has_queue = True
            self.pool.offer()
        return found is not None

    async def _look_again(self) -> None:
        """If no target could be reached, try again now. Raises CallError if there is still none."""
        if not any(target.alive or target.embedded for target in self.pool.targets):
            await self.models()
            if not any(target.alive for target in self.pool.targets):
                raise CallError("connection_error", self.trouble or "the upstream could not be reached")

    async def acquire(self, avoid: Target | None, body: bytes) -> Target:
        """Wait for a place at a target that can run the request, and take it; `pool.release` gives it back.

        The place is at `avoid` only if there is no other such target. Raises CallError if there will be none, or if
        none can be reached now.
        """
        target = await self.pool.acquire(avoid, await self._model_of(body))
        if target.has_queue:
            self._watch(target)
        return target

    async def _model_of(self, body: bytes) -> str | None:
        """Return the model that a request names, if that decides where it can run."""
        if self._differ is None:
            async with self._listing:
                if self._differ is None:
                    await self.models()
        try:
            return _decode_asked(body).model if self._differ else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def _watch(self, target: Target) -> None:
        watch = self._watches.get(target)
        if not target.embedded and (watch is None or watch.done()):
            self._watches[target] = asyncio.create_task(self._look_after(target))

    async def _look_after(self, target: Target) -> None:
        """Read the target's queue while it has requests; while it cannot be reached, try again after growing pauses."""
        pauses = delays(0.5, longest=30.0, spread=(0.5, 1.0))
        while not target.alive or (target.active and target.has_queue):
            if target.alive:
                pauses = delays(0.5, longest=30.0, spread=(0.5, 1.0))
                await asyncio.sleep(_LOOK_SECONDS)
                await self._read_queue(target)
            else:
                await asyncio.sleep(next(pauses))
                if not await self._ask(target) and not target.alive:
                    self.pool.fail_stranded(target.trouble or "the upstream could not be reached")

    async def _read_queue(self, target: Target) -> None:
        try:
            answer = await self._fetch(target, "GET", "/metrics", None, seconds=_ASK_SECONDS)
        except CallError:
            return
        waiting = queue_length(answer.body) if answer.status == 200 else None  # noqa: PLR2004
        target.has_queue = waiting is not None
        target.fit(waiting or 0)

    def _lose(self, target: Target, message: str) -> None:
        """Send nothing more to a target that cannot be reached, until it can."""
        target.trouble = message
        if target.alive and not target.embedded:
            log(f"{message}; it is tried again")
            target.alive = False
            self.pool.offer()
            self._watch(target)

    async def _fetch(
        self, target: Target, method: str, path: str, body: bytes | None, *, seconds: float
    ) -> UpstreamResponse:
        """Send a request and read its whole response. Raises CallError, and Refused as `call` does."""
        with self._translated(target, seconds):
            async with self._send(target, method, path, body, seconds) as reply:
                if body is not None:
                    self._adapt(target, reply)
                return UpstreamResponse(reply.status, reply.headers, await _read(reply))

    def _send(
        self,
        target: Target,
        method: str,
        path: str,
        body: bytes | None,
        seconds: float,
        content_type: str = "application/json",
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if target.embedded and body is not None:
            check_request(path, body)
        headers = {"Accept-Encoding": "identity", "User-Agent": "openai-batch"}
        if body is not None:
            headers["Content-Type"] = content_type
        if target.key:
            headers["Authorization"] = f"Bearer {target.key}"
        # No redirects: they would send the key to another host.
        return self._sessions[target].request(
            method,
            target.url(path),
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS),
        )

    @contextmanager
    def _translated(self, target: Target, seconds: float) -> Iterator[None]:
        """Raise CallError for a failed connection to the target, and if there is no response within `seconds`."""
        try:
            yield
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            message = f"{target.name} could not be reached ({type(exc).__name__})"
            self._lose(target, message)
            raise CallError("connection_error", message) from exc
        except TimeoutError as exc:
            target.shrink()
            raise CallError("timeout", f"no answer within {seconds:.0f} s") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise CallError("connection_error", f"{target.name} could not be reached ({type(exc).__name__})") from exc

    def _adapt(self, target: Target, reply: aiohttp.ClientResponse) -> None:
        """Let the target have more or fewer requests, as its response says."""
        if reply.status == 429:  # noqa: PLR2004 - too many requests
            target.shrink()
        else:
            target.grow()
        asked = retry_after(reply.headers) if reply.status in _ASKED_TO_WAIT else None
        if asked:
            self.pool.pause(target, min(asked, _LONGEST_PAUSE))


def upstream_of(settings: LocalSettings, keys: Sequence[str | None]) -> Upstream:
    """Return the upstreams of the settings, with the key of each."""
    return Upstream(
        [
            Target(
                base_url(each.url), key, each.concurrency or UPSTREAM_CONCURRENCY, per_minute=each.requests_per_minute
            )
            for each, key in zip(settings.upstreams, keys, strict=True)
        ]
    )


def base_url(url: str) -> str:
    """Return the URL that `/chat/completions` is appended to: for a URL without a path that is /v1, as at OpenAI."""
    url = url.rstrip("/")
    return url if urlsplit(url).path else f"{url}/v1"


def _way(target: Target) -> tuple[str | None, bool]:
    """Return how to connect to a target: its socket file, and whether proxies of the environment may be used.

    These are for other hosts, never for this machine.
    """
    return target.socket, not (target.embedded or is_loopback(urlsplit(target.base).hostname))


def _session(socket: str | None, trust_env: bool) -> aiohttp.ClientSession:
    """Return a session that connects to a socket file, or to hosts if that is None."""
    connector = aiohttp.TCPConnector(limit=0) if socket is None else aiohttp.UnixConnector(socket, limit=0)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=trust_env)


class _Model(msgspec.Struct):
    id: str
    owned_by: Any = None


class _Models(msgspec.Struct):
    data: list[_Model]


class _Asked(msgspec.Struct):
    model: str | None = None


_decode_models = msgspec.json.Decoder(_Models).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in reply.content.iter_any():
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise CallError("response_too_large", f"the answer has over {MAX_ANSWER_BYTES:,} bytes")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
