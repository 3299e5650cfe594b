"""Find the local server of this user, or start it.

Imports only the standard library and light files of this package: a client should not load the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_batch.errors import BatchError, ConfigError, MissingExtraError
from openai_batch.files import paths
from openai_batch.files.locks import WINDOWS, is_held, locked
from openai_batch.files.private import GROUP_AND_OTHERS_WRITE, check_own

if TYPE_CHECKING:
    from .model_download import Progress
    from .settings import LocalSettings

_ASK_SECONDS = 10
_START_SECONDS = 240
_STOP_SECONDS = 20
"""Seconds for a server to answer one request, to start, and to stop."""

_MAX_REPLY = 1 << 16  # bytes that are read of the server file, and of a reply to GET /health
_LOG_LINES = 8  # lines of the log in the error of a server that did not start
_MAX_LOG = 4 << 20  # if the log has more bytes than this, it is emptied before the next start

_SERVE_MODULES = ("aiohttp", "python_multipart", "starlette", "uvicorn")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running server is."""

    base_url: str  # its address with /v1
    token: str = field(repr=False)  # the key that it asks for


def server_file() -> Path:
    """Return the file in which a running server writes its address and token."""
    return paths.local_dir() / "server.json"


def server_lock() -> Path:
    """Return the file that a running server holds locked."""
    return paths.local_dir() / "server.lock"


def log_file() -> Path:
    """Return the log of servers that were started on demand."""
    return paths.local_dir() / "server.log"


def running() -> Endpoint | None:
    """Return the running server if it is ready for requests, else None."""
    found = _find_server()
    return found.endpoint if found is not None and found.health.get("status") == "ok" else None


def ensure_running(settings: LocalSettings, *, progress: Progress | None = None, as_is: bool = False) -> Endpoint:
    """Return a running server with these settings, started if need be.

    `progress` is called during the model's download with its name, the bytes so far and the bytes in all, and at the
    start of a server with 0 and None, and at its end with 0 and 0. A running server with other settings is replaced,
    unless it has unfinished batches and an upstream that can be reached. One that was started by hand is never ended;
    clients without settings of their own use it as it is. With `as_is`, a server that may not be replaced is returned
    whatever its settings are: all servers have the same batches.
    Raises MissingExtraError if a package is missing, AuthError without the upstream's key, ConfigError for a model file
    that cannot be used, and BatchError if the server does not start or may not be replaced.
    """
    check_system()
    folder = paths.private_dir(paths.local_dir())
    with locked(folder / "launch.lock"):
        found = _steady_server()
        if found is not None and found.usable(settings):
            return found.endpoint
        busy = found is not None and bool(found.health.get("active")) and not found.health.get("away")
        if found is not None and as_is and (busy or found.by_hand) and found.health.get("status") == "ok":
            return found.endpoint
        if found is not None and found.by_hand:
            raise BatchError(
                "the local server that was started by hand has other settings",
                hint="stop it, or start it with these settings",
            )
        if busy:
            raise BatchError(
                "the local server is working with other settings",
                hint="wait until its batches have ended, or cancel them",
            )
        check_extras(embedded=not settings.upstream)
        for each in settings.upstreams:
            each.key(os.environ)
        _make_model_ready(settings, progress)
        stop()
        step = "starting the local server and loading the model"
        if progress is not None:
            progress(step, 0, None)
        try:
            return _start(settings)
        finally:
            if progress is not None:
                progress(step, 0, 0)


def stop() -> bool:
    """End the running server, and return whether there was one; its batches continue at the next start."""
    if not is_held(server_lock()):
        return False
    deadline = time.monotonic() + _STOP_SECONDS
    asked = False
    while is_held(server_lock()):
        found = None if asked else _find_server()
        if found is not None:
            asked = _signal(found.health.get("pid"), signal.SIGTERM)
        if time.monotonic() > deadline:
            # The holder of the lock has written this file by now, so the process id is its own.
            if not _signal(_read_server_file().get("pid"), signal.SIGKILL):
                raise BatchError("the local server does not stop", hint=f"see {log_file()}")
            deadline = time.monotonic() + _STOP_SECONDS
        time.sleep(0.05)
    return True


@dataclass(frozen=True, slots=True)
class _RunningServer:
    """A server that answered to its token."""

    endpoint: Endpoint  # where it is
    health: dict[str, Any]  # its response to GET /health

    @property
    def by_hand(self) -> bool:
        return bool(self.health.get("by_hand"))

    def usable(self, settings: LocalSettings) -> bool:
        same = self.health.get("fingerprint") == settings.fingerprint()
        return self.health.get("status") == "ok" and (same or (self.by_hand and settings.is_default))


def _steady_server() -> _RunningServer | None:
    """Return the running server; if it is starting or stopping, wait for that."""
    deadline = time.monotonic() + _START_SECONDS
    while (found := _find_server()) is not None and found.health.get("status") in {"starting", "stopping"}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return found


def _find_server() -> _RunningServer | None:
    """Ask the server in the server file for its health; None if none answers.

    The file of a server that was killed is not used: by now its port may be another user's, who would get the token
    and the prompts.
    """
    if not is_held(server_lock()):
        return None
    content = _read_server_file()
    base_url, token = content.get("base_url"), content.get("token")
    if not isinstance(base_url, str) or not isinstance(token, str):
        return None
    health = _health_of(base_url, token)
    return _RunningServer(Endpoint(base_url, token), health) if health is not None else None


def _read_server_file() -> dict[str, Any]:
    """Return the content of the server file. Raises UsageError if another user could have written it."""
    for folder in (paths.state_dir(), paths.local_dir()):
        paths.check_folder(folder)
    check_own(server_file(), GROUP_AND_OTHERS_WRITE, "remove it, if it is not yours")
    try:
        with server_file().open(encoding="utf-8") as stream:
            content = json.loads(stream.read(_MAX_REPLY))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _health_of(base_url: str, token: str) -> dict[str, Any] | None:
    """Return the health of the server at `base_url`, or None if it is not one of ours."""
    import urllib.error  # here, because every command imports this file, and these modules load slowly
    import urllib.request

    url = base_url.removesuffix("/v1") + "/health"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - our own URL
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_ASK_SECONDS) as reply:
            health = json.loads(reply.read(_MAX_REPLY))
    except urllib.error.HTTPError as exc:
        with exc:
            try:
                health = json.loads(exc.read(_MAX_REPLY)) if exc.code == 503 else None  # noqa: PLR2004 - not ready
            except ValueError:
                health = None
    except (OSError, ValueError):
        return None
    return health if isinstance(health, dict) and health.get("service") == "openai-batch" else None


def check_system() -> None:
    """Raise BatchError if this system cannot run the server."""
    if WINDOWS:
        raise BatchError(
            "the local provider does not run on Windows", hint="run obatch in WSL, or choose another provider with -p"
        )


def check_extras(*, embedded: bool, needed: str = "the local provider needs") -> None:
    """Raise MissingExtraError, with the command that installs the extra, if a package is missing.

    `embedded` says whether requests are run by the embedded engine, `needed` begins the message.
    """
    wanted = (*_SERVE_MODULES, "xllamacpp") if embedded else _SERVE_MODULES
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        extra = "local" if embedded else "serve"
        raise MissingExtraError(f"{needed} {', '.join(missing)}", hint=f"pip install 'openai-batch[{extra}]'")


def _signal(pid: object, number: signal.Signals) -> bool:
    if not isinstance(pid, int):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    return True


def _make_model_ready(settings: LocalSettings, progress: Progress | None) -> None:
    if settings.upstream:
        return
    if settings.model_path is None:
        from .model import ensure_model

        ensure_model(progress)
    else:
        check_model_file(settings.model_path)


def check_model_file(path: str) -> None:
    """Raise ConfigError unless `path` is a GGUF file."""
    try:
        with Path(path).open("rb") as stream:
            good = stream.read(4) == b"GGUF"
    except OSError as exc:
        raise ConfigError(
            f"the model {path} cannot be read: {exc.strerror}", hint="give the path of a GGUF file"
        ) from exc
    if not good:
        raise ConfigError(f"{path} is not a GGUF file", hint="give the path of a GGUF file")


def _start(settings: LocalSettings) -> Endpoint:
    """Start the server in its own session, and wait until it is ready. Raises BatchError."""
    log = log_file()
    truncate = log.exists() and log.stat().st_size > _MAX_LOG
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if truncate else os.O_APPEND), 0o600)
    begin = os.fstat(handle).st_size
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "openai_batch.local", json.dumps(settings.as_mapping())],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            cwd="/",
            env=_server_environment(),
            start_new_session=True,
        )
    finally:
        os.close(handle)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        found = _find_server()
        if found is not None and found.usable(settings):
            process.returncode = 0  # the server keeps running; without this Python would warn about a running child
            return found.endpoint
        status = str(found.health.get("status")) if found is not None else "starting"
        if process.poll() is not None or status not in {"ok", "starting"}:
            break
        time.sleep(0.05)
    if process.poll() is None:
        process.kill()
        process.wait()
    raise BatchError("the local server did not start", hint=f"its log is {log}", details=_last_lines(log, begin))


def _server_environment() -> dict[str, str]:
    """Return the environment with absolute folders, since the server has another working folder."""
    folders = {"OBATCH_STATE_DIR": paths.state_dir(), "OBATCH_CACHE_DIR": paths.cache_dir()}
    return {**os.environ, **{name: str(path.absolute()) for name, path in folders.items()}}


def _last_lines(log: Path, begin: int) -> list[str]:
    with log.open("rb") as stream:
        stream.seek(begin)
        return stream.read()[-4000:].decode("utf-8", "replace").strip().splitlines()[-_LOG_LINES:]
