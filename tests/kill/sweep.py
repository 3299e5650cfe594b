"""Run the real command, kill it at a chosen moment, each run in its own world, and check what must hold afterwards.

The moment is a crash point inside the process (see `zygote`), or a system call, chosen with strace.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.faults import FaultServer, fault_server
from support.workbench import request_line

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = (
    *("connect", "sendto", "sendmsg", "recvfrom", "write", "pwrite64", "fsync", "fdatasync"),
    *("link", "linkat", "rename", "unlink", "unlinkat", "ftruncate"),
)
"""The system calls that access a network or a disk."""

NAMING = ("link", "linkat", "rename", "unlink", "unlinkat")
"""The calls that create and remove names: their relative paths do not show the folder."""

KEY = "sk-swept-0123456789"

MAX_RUNS = 4
"""How often a command is run again until it ends normally."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code (negative: the signal that killed it), its output, and its duration."""

    code: int
    out: str
    err: str
    seconds: float
    points: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Moment:
    """When a run is interrupted: at a crash point (`call` empty), or at the start of the n-th such system call.

    With `error` the call fails with this error instead, and with `lasting` each later call too.
    """

    number: int
    call: str = ""
    signum: int = signal.SIGKILL
    error: str = ""
    lasting: bool = False

    def __str__(self) -> str:
        what = self.error or signal.Signals(self.signum).name
        return f"{what} at {self.call or 'point'} {self.number}"


class Zygote:
    """The process that forks commands, as tests use it."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def ask(self, **instruction: Any) -> dict[str, Any]:
        """Send an instruction and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(instruction) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class World:
    """A simulated machine with a home, a working folder, an input, and its own provider.

    `parts` is how many batches the input needs.
    """

    def __init__(self, folder: Path, server: FaultServer, zygote: Zygote) -> None:
        self.folder, self.server, self.zygote = folder, server, zygote
        self.parts = 1
        self.state, self.work, self.log = folder / "state", folder / "work", folder / "log"
        self.work.mkdir(parents=True)
        self.log.mkdir()
        self._runs = 0
        self.configure()

    def configure(self, **values: Any) -> None:
        """Write the configuration, with short timeouts unless `values` set others."""
        table = {"base_url": self.server.base_url, "api_key_env": "SWEPT_KEY"}
        table |= {"create_timeout": 2.0, "create_grace": 0.1} | values
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        text = "\n".join(['provider = "faulty"', "[providers.faulty]", *lines, ""])
        (self.folder / "config.toml").write_text(text)

    def write(self, plan: str = "fault:end=completed", requests: int = 6, name: str = "in.jsonl") -> Path:
        """Write an input."""
        path = self.work / name
        path.write_bytes(b"".join(request_line(f"id-{n}", plan) for n in range(requests)))
        return path

    @property
    def env(self) -> dict[str, str]:
        """The environment of every run."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "PYTHONPATH") if name in os.environ}
        return kept | {
            "HOME": str(self.folder),
            "OBATCH_STATE_DIR": str(self.state),
            "OBATCH_CONFIG": str(self.folder / "config.toml"),
            "OBATCH_CACHE_DIR": str(self.folder / "cache"),
            "SWEPT_KEY": KEY,
            "TMPDIR": str(self.log),
        }

    def start(self, words: tuple[str, ...], moment: Moment | None = None, **options: Any) -> Running:
        """Start the command, to be interrupted at that moment."""
        self._runs += 1
        stem = str(self.log / f"run-{self._runs}")
        instruction: dict[str, Any] = {"do": "start", "words": words, "env": self.env, "cwd": str(self.work)}
        instruction |= {"out": options.pop("out", f"{stem}.out"), "err": f"{stem}.err"}
        traced: list[str] = []
        paths = [word for path in options.pop("paths", ()) for word in ("-P", str(path))]
        if moment is not None and moment.call:
            what = f"error={moment.error}" if moment.error else f"signal={signal.Signals(moment.signum).name}"
            more = "+" if moment.lasting else ""
            traced = ["-e", f"trace={moment.call}", "-e", f"inject={moment.call}:{what}:when={moment.number}{more}"]
            traced += paths
        elif moment is not None:
            instruction |= {"number": moment.number, "signal": int(moment.signum)}
        if trace := options.pop("trace", None):
            traced = [
                "-e",
                f"trace={','.join((*CALLS, *options.pop('extra', ())))}",
                "-y",
                "-s",
                "200",
                "-o",
                str(trace),
            ]
        elif traced:
            traced += ["-o", os.devnull]
        instruction |= options | ({"traced": True} if traced else {})
        pid = self.zygote.ask(**instruction)["pid"]
        tracer = None
        if traced:
            tracer = subprocess.Popen(["strace", "-f", "-qq", "-p", str(pid), *traced], stderr=subprocess.DEVNULL)
        return Running(self, pid, stem, instruction, tracer)

    def run(self, *words: str, moment: Moment | None = None, **options: Any) -> Ended:
        """Run the command until it ends; a traceback is a failure."""
        return self.start(words, moment, **options).finish()

    def run_on(self, *words: str) -> Ended:
        """Run the same command again until it ends normally."""
        for _ in range(MAX_RUNS):
            ended = self.run(*words)
            if ended.code in (0, 7):
                break
        return ended

    def check(self, ended: Ended) -> None:
        """Assert what must hold after a command has been run until it ended normally."""
        made = [batch.input.data for batch in self.server.batches.values()]
        assert ended.code in (0, 7), ended
        assert len(made) == self.parts or (ended.code == 7 and len(made) < self.parts), (made, ended)
        assert len(set(made)) == len(made), (made, ended)
        assert len(self.server.creates) <= self.parts, ended
        self.check_registry()
        self.check_tidy()

    def check_registry(self) -> None:
        """Assert that the registry is intact, and that it contains only batches that exist, each once."""
        db = sqlite3.connect(self.state / "registry.db")
        with contextlib.closing(db):
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            known = [row[0] for row in db.execute("SELECT batch_id FROM parts WHERE batch_id IS NOT NULL")]
        assert set(known) <= set(self.server.batches)
        assert len(known) == len(set(known)), known

    def check_tidy(self) -> None:
        """Assert that no unfinished files are left."""
        assert self.leftovers() == []
        assert not list(self.state.glob("registry.db.damaged*"))

    def leftovers(self) -> list[Path]:
        """Return the files that a killed run may leave and a later run must delete."""
        found = [*self.work.rglob(".*"), *self.state.rglob("*.part"), *self.state.rglob("*.new")]
        return found + list((self.state / "spool").glob("*"))

    def remove(self) -> None:
        """Delete the files of the world."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Running:
    """A run in progress."""

    world: World
    pid: int
    stem: str
    instruction: dict[str, Any]
    tracer: subprocess.Popen[bytes] | None = None

    def finish(self) -> Ended:
        """Wait until it ends; a traceback, a hanging process, or the key in its output is a failure."""
        answer = self.world.zygote.ask(do="wait", pid=self.pid)
        if self.tracer is not None:
            self.tracer.wait(20)
        out, err = (self._said(name) for name in ("out", "err"))
        points = json.loads(Path(self.instruction["points"]).read_text()) if self.instruction.get("points") else []
        ended = Ended(answer["status"], out, err, answer["seconds"], points)
        assert "Traceback" not in err, err
        assert "bug in obatch" not in err, err
        assert ended.code not in (70, 999), ended
        assert KEY not in out + err
        return ended

    def _said(self, name: str) -> str:
        path = Path(self.instruction[name])
        return path.read_text() if path.is_file() else ""


@contextlib.contextmanager
def world(folder: Path, zygote: Zygote, *, keep: bool = False) -> Iterator[World]:
    """Make a world with its own server, and delete it at the end."""
    with fault_server() as server:
        made = World(folder / f"world-{time.monotonic_ns()}", server, zygote)
        yield made
        if not keep:
            made.remove()


def relevant(log: Path, made: World) -> list[tuple[str, int]]:
    """Return the system calls of a traced run that access the network or permanent files: name and number."""
    counts: dict[str, int] = {}
    found = []
    for line in log.read_text().splitlines():
        call = re.match(r"(?:\d+ +)?(\w+)\(", line)
        if call is None:
            continue
        name = call[1]
        counts[name] = counts.get(name, 0) + 1
        near = name in NAMING and "pyc" not in line
        if near or "socket:" in line or "TCP:" in line or str(made.state) in line or str(made.work) in line:
            found.append((name, counts[name]))
    return found
