"""The embedded engine, on the server's side: one process with a single thread for each usable core.

Threads of one llama.cpp process wait for each other in busy loops: they lose most of their speed as soon as anything
else uses a core. Processes do not wait for each other. Each answers several requests at a time: it reads its weights
once for all of them, which gives a quarter more tokens in a second of a core.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.files import paths

from .model import NAME
from .targets import Target

if TYPE_CHECKING:
    from .settings import LocalSettings
    from .upstream import Upstream

_START_SECONDS = 180  # seconds that an engine process may take to load the model

_STEADY_SECONDS = 10
_MAX_FAILURES = 3
"""The engine is not started again after it has ended this many times in a row, each within `_STEADY_SECONDS`."""

_LONGEST_FOLDER = 90  # the most bytes of a folder's path for sockets: macOS allows 104 bytes for the path of a socket

_CGROUP = Path("/sys/fs/cgroup")


def model_names(settings: LocalSettings) -> list[str]:
    """Return the model names that the engine accepts: the small model's, or that of the given file."""
    name = Path(settings.model_path).stem if settings.model_path else NAME
    return list(dict.fromkeys((name, name.lower())))


class Engines:
    """All engine processes. One that dies is started again; all end with the server."""

    def __init__(self, settings: LocalSettings, model: Path) -> None:
        self._folder = _socket_folder()
        self.targets = [
            Target("http://engine/v1", None, settings.slots, alive=False, socket=str(self._folder / f"{number}.sock"))
            for number in range(settings.concurrency or usable_cores())
        ]
        self._config = {
            "model": str(model),
            "name": model_names(settings)[0],
            "context": settings.context,
            "slots": settings.slots,
            "max_output_tokens": settings.max_output_tokens,
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: str | None = None

    @property
    def condition(self) -> str:
        """`ok`, `starting`, or why there is no engine."""
        if self._failure is not None:
            return self._failure
        return "ok" if any(target.alive for target in self.targets) else "starting"

    def start(self, upstream: Upstream) -> None:
        """Start all processes; `upstream` is called when one is ready, and when the engine is not started again."""
        self._tasks = [asyncio.create_task(self._keep(target, upstream)) for target in self.targets]

    async def close(self) -> None:
        """End all processes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _keep(self, target: Target, upstream: Upstream) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            process = await self._spawn()
            try:
                if await self._ready(process, target):
                    upstream.pool.offer(target)
                code = await process.wait()
            finally:
                target.alive = False
                with suppress(ProcessLookupError):
                    process.kill()
            sys.stderr.write(f"an engine process ended with {code}\n")
            failures = 0 if time.monotonic() - started > _STEADY_SECONDS else failures + 1
            if failures >= _MAX_FAILURES:
                self._failure = f"the engine does not start (its process ended with {code})"
                upstream.pool.fail(self._failure)
                return

    async def _spawn(self) -> asyncio.subprocess.Process:
        # -P keeps the working folder out of the module path: it may hold another openai_batch.
        command = (sys.executable, "-P", "-m", "openai_batch.local.engine_process")
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )

    async def _ready(self, process: asyncio.subprocess.Process, target: Target) -> bool:
        """Send the process its configuration, and return whether it then serves.

        The pipe to the process stays open. It closes however this server ends, and then the process ends too.
        """
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(json.dumps({**self._config, "socket": target.socket}).encode() + b"\n")
            await process.stdin.drain()
            target.alive = bool(await asyncio.wait_for(process.stdout.readline(), _START_SECONDS))
        except (OSError, TimeoutError):
            with suppress(ProcessLookupError):
                process.kill()
        return target.alive


def _socket_folder() -> Path:
    """Return a folder for the sockets of the engines, which other users cannot enter."""
    folder = paths.local_dir().absolute() / "engines"
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        return paths.private_dir(folder)
    return Path(tempfile.mkdtemp(prefix="obatch-", dir="/tmp"))


def usable_cores() -> int:
    """Return how many cores this process may use, by its affinity and the CPU quota of its control groups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(cores, _quota())))


def _quota() -> float:
    """Return the smallest CPU quota, in cores, of this process's control group and those above it; inf if none."""
    quota = math.inf
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:
        return quota
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            group = _CGROUP / path.lstrip("/")
            for folder in (group, *group.parents):
                quota = min(quota, _quota_v2(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):
            for folder in (_CGROUP / "cpu", _CGROUP / "cpu" / path.lstrip("/")):
                quota = min(quota, _quota_v1(folder))
    return quota


def _quota_v2(file: Path) -> float:
    try:
        quota, period = file.read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is not a number: no quota
        return math.inf


def _quota_v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return math.inf
    return quota / period if quota > 0 < period else math.inf
