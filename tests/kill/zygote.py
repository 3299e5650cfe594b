"""A process with loaded modules that forks a child for each run of the command, so that a killed run is fast.

It reads one JSON object per line from standard input, and answers each with one line:

    {"do": "start", "words": [...], "env": {...}, "cwd": "...", "out": "...", "err": "...", ...}    {"pid": 7}
    {"do": "wait", "pid": 7}                                    {"status": -9, "seconds": 0.2}

A crash point is a call that accesses a disk or a socket. With `number`, a child is killed at that crash point; with
`points`, it writes the list of passed points to that file; with `traced`, it waits until strace is attached.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import pkgutil
import resource
import signal
import socket
import sqlite3
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

PATIENCE = 60.0
"""Seconds after which a run counts as hanging."""

WARM = (
    *("openai", "openai.resources.batches", "openai.resources.files", "openai.types.batch", "typer", "rich.console"),
    *("rich.table", "rich.live", "rich.progress", "filecmp", "tempfile", "fcntl", "platformdirs", "encodings.idna"),
)
COLD = ("openai_batch.local", "openai_batch.__main__")
"""The modules that are not imported before the fork: the local server, and the program itself."""


class Points:
    """The crash points that a child passes. At the chosen one it sends a signal to itself."""

    def __init__(self, number: int, signum: int, report: str | None) -> None:
        self._number, self._signum = number, signum
        self._passed: list[str] = []
        self._report = report

    def reach(self, name: str) -> None:
        """Record a point, and send the signal if it is the chosen one."""
        self._passed.append(name)
        if len(self._passed) == self._number:
            os.kill(os.getpid(), self._signum)

    def install(self) -> None:
        """Add a point before each relevant call, and one after each COMMIT."""
        points = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                points.reach(f"sql {sql.split(maxsplit=1)[0]}")
                done = super().execute(sql, *values)
                if sql == "COMMIT":
                    points.reach("committed")
                return done

        sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]
        for owner, name in [
            *((socket.socket, name) for name in ("connect", "send", "sendall", "recv")),
            *((os, name) for name in ("fsync", "link", "replace", "rename", "unlink", "rmdir", "mkdir", "open")),
        ]:
            setattr(owner, name, self._before(name, getattr(owner, name)))

    def _before(self, name: str, call: Any) -> Any:
        @functools.wraps(call)
        def pointed(*args: Any, **options: Any) -> Any:
            self.reach(name)
            return call(*args, **options)

        return pointed

    def write_report(self) -> None:
        """Write the list of passed points to the report."""
        if self._report:
            Path(self._report).write_text(json.dumps(self._passed))


def run(instruction: dict[str, Any]) -> NoReturn:
    """Run the command in the child."""
    os.environ.clear()
    os.environ.update(instruction["env"])
    os.chdir(instruction["cwd"])
    null = os.open(instruction.get("stdin") or os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "out"), (2, "err")):
        handle = os.open(instruction[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    if limit := instruction.get("file_limit"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if user := instruction.get("user"):
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if instruction.get("traced"):
        while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGCONT)  # a stopped process continues only when strace lets it
    points = Points(instruction.get("number", 0), instruction.get("signal", signal.SIGKILL), instruction.get("points"))
    if instruction.get("number") or instruction.get("points"):
        points.install()
    code = 70
    try:
        main = importlib.import_module("openai_batch.cli.main").main
        code = main(instruction["words"])
        points.write_report()
    except BaseException:  # noqa: BLE001 - this is a bug, and the tests look for its traceback
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(pid: int) -> dict[str, Any]:
    """Return how a child ended; a hanging one is killed and has the status 999."""
    begun = time.monotonic()
    while time.monotonic() < begun + PATIENCE:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - begun}
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"status": 999, "seconds": PATIENCE}


def main() -> None:
    """Serve until standard input ends."""
    for name in WARM:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(importlib.import_module("openai_batch").__path__, "openai_batch."):
        if not module.name.startswith(COLD):
            importlib.import_module(module.name)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        instruction = json.loads(line)
        if instruction["do"] == "wait":
            answer = wait(instruction["pid"])
        else:
            pid = os.fork()
            if not pid:
                run(instruction)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
