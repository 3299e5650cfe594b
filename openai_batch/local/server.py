"""Run the local server: build its parts, listen, and shut everything down in order."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from openai_batch.errors import BatchError, UsageError
from openai_batch.files import paths
from openai_batch.net.hosts import is_loopback

from .app import Routes, build_app
from .chunked_uploads import ChunkedUploads
from .connections import LimitedProtocol, allow_many_connections
from .engine import Engines, model_names
from .executor import Executor
from .launch import Endpoint, check_model_file, server_file, server_lock
from .model import ensure_model
from .security import MAX_HEADER_BYTES, Guard, loopback_hosts
from .store import Store
from .upstream import Upstream, upstream_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from .settings import LocalSettings

_SWEEP_SECONDS = 600  # seconds between two searches for expired files
_GRACE_SECONDS = 2  # seconds that open requests get when the server stops
_LOCK_SECONDS = 1.0  # seconds to try for the server's lock: a process that only looks at it may hold it for a moment


@dataclass(frozen=True, slots=True)
class _Address:
    """Where the server listens."""

    listener: socket.socket  # the bound socket
    endpoint: Endpoint  # the URL and the token for clients
    hosts: frozenset[str] | None  # the allowed Host headers; None allows any


class Activity:
    """ASGI middleware that notes when the last request ended, and whether one is running."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way = 0
        self._last = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note when it has ended."""
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
            self._last = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last request ended; 0 while one is running."""
        return 0 if self._under_way else time.monotonic() - self._last


def serve(
    settings: LocalSettings,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    on_ready: Callable[[Endpoint], None] | None = None,
    *,
    forever: bool = True,
) -> None:
    """Serve until SIGINT or SIGTERM, or (unless `forever`) until nothing has happened for `settings.idle_seconds`.

    `on_ready` is called with the address and the token once the server answers. Port 0 means any free port; a host
    other than this machine's loopback needs an explicit token. Raises BatchError if a server with the same state folder
    is running already, UsageError for a host, a port or a token that cannot be used, and AuthError without the
    upstream's key.
    """
    open_to_network = not is_loopback(host)
    if open_to_network and not token:
        raise UsageError(
            f"serving on {host} needs your own token",
            hint="name its variable with --token-env, or serve on 127.0.0.1",
        )
    if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
        raise UsageError("the token has characters that a header cannot have", hint="use letters and digits")
    keys = [each.key(os.environ) for each in settings.upstreams]
    if settings.model_path is not None and not settings.upstream:
        check_model_file(settings.model_path)
    paths.private_dir(paths.local_dir())
    with _only_server(), _listening(host, port) as listener:
        model = None if settings.upstream else Path(settings.model_path or ensure_model())
        token = token or secrets.token_urlsafe(32)
        name = f"[{host}]" if ":" in host else host
        bound = listener.getsockname()[1]
        endpoint = Endpoint(f"http://{name}:{bound}/v1", token)
        address = _Address(listener, endpoint, None if open_to_network else loopback_hosts(bound))
        asyncio.run(_serve(settings, model, keys, address, on_ready, forever=forever))


@contextlib.contextmanager
def _only_server() -> Iterator[None]:
    """Hold the lock of the state folder: two servers with one store would run every request twice."""
    handle = os.open(server_lock(), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    hint = "use that one, or stop it first; jobs find it automatically"
                    raise BatchError("a local server is running already", hint=hint) from None
                time.sleep(0.05)
        _remove_server_file()  # a killed server left it
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError, UnicodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else exc
            raise UsageError(f"cannot listen on {host}:{port}: {why}", hint="choose another port") from exc
        yield listener


class _Server(uvicorn.Server):
    """uvicorn, but signals only ask it to stop, so that everything else can be shut down in order."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        with contextlib.ExitStack() as stack:
            for number in signals:
                try:
                    loop.add_signal_handler(number, self._stop)
                except (ValueError, RuntimeError):  # not in the main thread: the caller has the signals
                    break
                stack.callback(loop.remove_signal_handler, number)
            yield

    def _stop(self) -> None:
        self.should_exit = True


async def _serve(
    settings: LocalSettings,
    model: Path | None,
    keys: Sequence[str | None],
    address: _Address,
    on_ready: Callable[[Endpoint], None] | None,
    *,
    forever: bool,
) -> None:
    """Run until a signal, or unless `forever` until idle; then shut everything down in order."""
    backend = _Backend(settings, model, keys)

    def condition() -> str:
        return "stopping" if server.should_exit else backend.condition

    def ready() -> None:
        _write_server_file(address.endpoint, settings)
        if on_ready is not None:
            on_ready(address.endpoint)

    routes = Routes(
        store=backend.store,
        executor=backend.executor,
        upstream=backend.upstream,
        settings=settings,
        files=backend.files,
        journals=backend.journals,
        uploads=backend.uploads,
        condition=condition,
        identity={"service": "openai-batch", "fingerprint": settings.fingerprint(), "by_hand": forever},
    )
    activity = Activity(build_app(routes))
    server = _Server(_uvicorn_config(Guard(activity, token=address.endpoint.token, hosts=address.hosts)), ready)
    await backend.start()
    tasks = [asyncio.create_task(backend.delete_expired_files())]
    if not forever:
        tasks.append(asyncio.create_task(_stop_when_idle(server, backend.executor, activity, settings.idle_seconds)))
    try:
        await server.serve(sockets=[address.listener])
    finally:
        _remove_server_file()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await backend.close()


class _Backend:
    """Everything behind the routes: the store, what runs the requests, and the executor. Made in the event loop."""

    def __init__(self, settings: LocalSettings, model: Path | None, keys: Sequence[str | None]) -> None:
        folder = paths.private_dir(paths.local_dir())
        self.files, self.journals = (paths.private_dir(folder / name) for name in ("files", "journals"))
        self.store = Store(folder / "store.db")
        _remove_unknown_files(self.store, self.files)
        self.uploads = ChunkedUploads(folder / "uploads", self.files, self.store, settings.max_bytes)
        self._engines = Engines(settings, model) if model is not None else None
        self.upstream = (
            Upstream(self._engines.targets, model_names(settings)) if self._engines else upstream_of(settings, keys)
        )
        self.executor = Executor(self.store, self.upstream, settings, self.files, self.journals)

    @property
    def condition(self) -> str:
        """`ok`, `starting`, or why the engine does not run."""
        return self._engines.condition if self._engines else "ok"

    async def start(self) -> None:
        """Start the engines and continue unfinished batches."""
        if self._engines:
            self._engines.start(self.upstream)
        await self.executor.start()

    async def close(self) -> None:
        """Stop the work first, then what it uses."""
        await self.executor.close()
        if self._engines:
            await self._engines.close()
        await self.upstream.close()
        self.store.close()

    async def delete_expired_files(self) -> None:
        """Delete files and uploads that have expired, every few minutes."""
        while True:
            await asyncio.to_thread(self.uploads.remove_expired)
            with contextlib.suppress(BatchError):
                for file_id in await asyncio.to_thread(self.store.expired_files, time.time()):
                    await asyncio.to_thread(self.store.delete_file, file_id)
                    (self.files / file_id).unlink(missing_ok=True)
            await asyncio.sleep(_SWEEP_SECONDS)


def _remove_unknown_files(store: Store, files: Path) -> None:
    """Remove files that are not in the store: a crash left them incomplete."""
    for path in files.iterdir():
        if store.file(path.name) is None:
            path.unlink()


def _uvicorn_config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=LimitedProtocol,
        backlog=allow_many_connections(),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=2 * MAX_HEADER_BYTES,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _write_server_file(endpoint: Endpoint, settings: LocalSettings) -> None:
    """Write address and token into the server file, which only the owner can read."""
    content = {
        "pid": os.getpid(),
        "base_url": endpoint.base_url,
        "token": endpoint.token,
        "fingerprint": settings.fingerprint(),
    }
    target = server_file()
    part = target.with_suffix(".part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        json.dump(content, out)
    part.replace(target)


def _remove_server_file() -> None:
    server_file().unlink(missing_ok=True)


async def _stop_when_idle(server: uvicorn.Server, executor: Executor, activity: Activity, seconds: float) -> None:
    # A loop, since no event marks that time has passed.
    while executor.active or activity.idle_seconds < seconds:  # noqa: ASYNC110
        await asyncio.sleep(min(1.0, max(0.05, seconds / 4)))
    server.should_exit = True
