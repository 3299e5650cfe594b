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
from .targets import CallError, NotSentError, Pool, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
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
OF_A_GATEWAY = frozenset({502, 503, 504})  # statuses with which a gateway says that the server behind it is away


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
        self._names_matter = models is None and len(targets) > 1  # whether a model may run at some targets only
        self._asked = models is not None  # whether the targets were asked for their models
        self._listing = asyncio.Lock()
        self._checked: set[Target] = set()
        self._watches: dict[Target, asyncio.Task[None]] = {}
        sessions = {way: _session(*way) for way in set(map(_way, targets))}
        self._sessions = {target: sessions[_way(target)] for target in targets}

    @property
    def capacity(self) -> int:
        """The number of requests that may run at a time when all is well."""
        return sum(target.limit for target in self.pool.targets)

    @property
    def starts(self) -> int:
        """The number of requests that may be started.

        Where a model may run at some targets only, those that wait for these should not take the places of others.
        """
        return self.capacity * (2 if self._names_matter else 1)

    async def close(self) -> None:
        """Close all connections."""
        for watch in self._watches.values():
            watch.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        for session in set(self._sessions.values()):
            await session.close()

    @property
    def away(self) -> bool:
        """Whether no upstream can be reached."""
        return not any(target.alive or target.embedded for target in self.pool.targets)

    def trouble(self, tasks: Collection[asyncio.Task[Any]] | None = None) -> str | None:
        """Return why no target answers, or none of those that have the model of a waiting request; None if all is well.

        Only the waiting requests that `tasks` run count, or all if it is None. Any thread may call it.
        """
        targets = self.pool.targets
        target = self.pool.missed(tasks)
        if target is None and all(each.trouble for each in targets):
            target = next((each for each in targets if each.alive), targets[0])
        if target is None:
            return None
        return f"{target.trouble}; " + ("it is tried again" if target.alive else "requests wait until it answers")

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

        If no target can be reached, each is tried once more. Raises CallError, and Refused for a request that the
        embedded engine cannot run.
        """
        model = await self._model_of(body)
        await asyncio.gather(*map(self._ask, self.pool.away(model)))
        target = await self._take(None, model, patient=False)
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
        self._asked = True
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
        """Ask a target for its models, and note whether it can be reached; return whether it lists its models.

        One that has listed its models cannot be reached if only a gateway in front of it answers.
        """
        try:
            answer = await self._fetch(target, "GET", "/v1/models", None, seconds=_ASK_SECONDS)
            found = _decode_models(answer.body).data if answer.status == 200 else None  # noqa: PLR2004
        except CallError as exc:
            if exc.code == "connection_error":
                self._lose(target, str(exc))
            return False
        except (msgspec.MsgspecError, UnicodeDecodeError):
            found = None
        if answer.status in OF_A_GATEWAY and target.models is not None:
            self._lose(target, f"{target.name} could not be reached (HTTP {answer.status})")
            return False
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

    async def check(self, target: Target) -> None:
        """Look whether a target can still be reached, after a request that may have failed because it cannot."""
        if target.alive and not target.embedded and target not in self._checked:
            self._checked.add(target)
            try:
                await self._ask(target)
            finally:
                self._checked.discard(target)

    async def acquire(self, avoid: Target | None, body: bytes) -> Target:
        """Wait for a place at a target that can run the request, and take it; `pool.release` gives it back.

        The place is at `avoid` only if no other such target can be reached. Raises CallError if there will be none.
        """
        return await self._take(avoid, await self._model_of(body), patient=True)

    async def _take(self, avoid: Target | None, model: str | None, *, patient: bool) -> Target:
        target = await self.pool.acquire(avoid, model, patient=patient)
        if target.has_queue:
            self._watch(target)
        return target

    async def learn_models(self) -> None:
        """Ask the targets for their models, unless they were asked before."""
        if not self._asked:
            async with self._listing:
                if not self._asked:
                    await self.models()

    async def _model_of(self, body: bytes) -> str | None:
        """Return the model that a request names, if that may decide where it can run."""
        await self.learn_models()
        try:
            return _decode_asked(body).model if self._names_matter else None
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
                await self._ask(target)

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
            self.pool.fail_stranded()
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
        """Raise CallError if there is no whole response within `seconds`, NotSentError if there is no connection."""
        try:
            yield
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            message = f"{target.name} could not be reached ({type(exc).__name__})"
            self._lose(target, message)
            raise NotSentError(message) from exc
        except TimeoutError as exc:
            target.shrink()
            raise CallError("timeout", f"no answer within {seconds:.0f} s") from exc
        except (aiohttp.ClientError, OSError) as exc:
            message = f"the connection to {target.name} broke ({type(exc).__name__})"
            raise CallError("connection_error", message) from exc

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
