"""The cases: what is measured against what. Each is a function that makes its files and yields what to run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Case, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
_PROFILE = """
[providers.bench]
base_url = "https://bench.example/v1"
max_requests = 100_000_000
max_bytes = 100_000_000_000
"""
_STARTS = 7
"""Runs of what takes a fraction of a second."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each case handles."""

    prompts: int
    megabytes: int
    requests: int
    results: int
    jobs: int
    growth: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the cases work, how much they handle, and the Python that openai-batch 0.3.4 is installed for, if any."""

    folder: Path
    sizes: Sizes
    old_python: str | None

    def environment(self) -> dict[str, str]:
        """Return what every measured process gets: a registry and a configuration of its own, and no key."""
        (self.folder / "config.toml").write_text(_PROFILE, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OBATCH_"))}
        return kept | {
            "OBATCH_STATE_DIR": str(self.folder / "state"),
            "OBATCH_CONFIG": str(self.folder / "config.toml"),
            "NO_PROXY": "127.0.0.1",
        }

    def make(self, *words: object) -> None:
        """Write inputs, in a process of its own: the memory of this one would count in the figures."""
        command = [sys.executable, str(HERE / "inputs.py"), *map(str, words)]
        subprocess.run(command, check=True, cwd=self.folder, env=self.environment())

    def bytes_of(self, *names: str) -> float:
        """Return how many bytes the files have together."""
        return sum(path.stat().st_size for name in names for path in self.folder.glob(name))

    def clear(self) -> None:
        """Make room for the next case."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def prepare(bench: Bench) -> Iterator[Case]:
    """Yield prompts to a batch input."""
    count = bench.sizes.prompts
    bench.make("prompts", "prompts.txt", count)
    commands = [_prepare("prompts.txt")]
    if bench.old_python:
        words = (bench.old_python, str(HERE / "work.py"), "old_prepare", "prompts.txt", "old.jsonl")
        commands.append(Command("openai-batch 0.3.4, its limits lifted", words))
    commands.append(_work("reading and writing the bytes", "copy", "prompts.txt", "copy"))
    yield Case(f"prepare {count:,} prompts", commands, count, "rows")


def check(bench: Bench) -> Iterator[Case]:
    """Yield batch inputs of one size with long lines and with short ones."""
    size = bench.sizes.megabytes * 1_000_000
    for count in (bench.sizes.requests, max(1, size // 330)):
        bench.make("requests", "input.jsonl", count, size)
        found = bench.bytes_of("input.jsonl") / 1e6
        commands = [
            _check("input.jsonl"),
            _work("parsing the lines with msgspec", "parse", "input.jsonl"),
            _work("reading the bytes", "read", "input.jsonl"),
        ]
        yield Case(f"check {found:,.0f} MB, {count:,} requests", commands, found, "MB")


def join(bench: Bench) -> Iterator[Case]:
    """Yield results that arrived in no order, for parts that follow each other and for mixed ones."""
    count = bench.sizes.results
    parts = _parts(count)
    for kind, what in (("stretches", "parts one after the other"), ("mixed", "parts of mixed models")):
        bench.make("results", kind, count, parts, kind)
        commands = [
            _work("obatch: collect", "join", kind, "joined.jsonl"),
            _work("all lines in a dict, then out", "join_in_memory", kind, count, "dict.jsonl"),
            _work("reading and writing the bytes", "copy_all", kind, "copy"),
        ]
        yield Case(f"join {count:,} results, {parts} {what}", commands, count, "rows")


def trip(bench: Bench) -> Iterator[Case]:
    """Yield a file up and one down, over the loopback."""
    size, count = bench.sizes.megabytes * 1_000_000, bench.sizes.requests
    with _server() as url:
        for up, down in ((size, size), (count * 330, count * 560)):
            bench.make("requests", "input.jsonl", count, up)
            source, target = ("input.jsonl", "output.jsonl")
            commands = [
                _work("obatch: upload and download", "trip", url, source, target, down),
                _work("the openai client, streaming", "bare_trip", url, source, target, down),
            ]
            if shutil.which("curl"):
                post = f"curl -sSf -F purpose=batch -F 'file=@{source};filename=f.jsonl' {url}/files -o record"
                get = f"curl -sSf {url}/files/file-{down}/content -o {target}"
                commands.append(Command("curl, twice", ("sh", "-c", f"{post} && {get}")))
            found = (bench.bytes_of("input.jsonl") + down) / 1e6
            yield Case(f"upload {up / 1e6:,.1f} MB, download {down / 1e6:,.1f} MB", commands, found, "MB")


def ls(bench: Bench) -> Iterator[Case]:
    """Yield a listing of many jobs."""
    count = bench.sizes.jobs
    bench.make("jobs", count)
    commands = [
        _obatch("ls"),
        _work("sqlite3 alone: print every row", "rows", str(bench.folder / "state" / "registry.db")),
    ]
    yield Case(f"ls, {count:,} jobs", commands, count, "jobs", rounds=5)


def start(bench: Bench) -> Iterator[Case]:
    """Yield what a person waits for at every call, with a few jobs in the registry."""
    bench.make("jobs", 5)
    typer, python = _work("a bare Typer program", "hello"), Command("Python: pass", (sys.executable, "-c", "pass"))
    helped = _work("a bare Typer program: --help", "hello", "--help")
    for words, others in (
        (("--version",), (python,)),
        (("--help",), (helped, python)),
        (("ls",), (typer, python)),
        (("__complete", "jobs", ""), (python,)),
    ):
        yield Case(f"start of {' '.join(words).strip()}", (_obatch(*words), *others), rounds=_STARTS)


def growth(bench: Bench) -> Iterator[Case]:
    """Yield prepare, check and join at sizes that grow tenfold, the largest first."""
    sizes = sorted(bench.sizes.growth, reverse=True)
    for count in sizes:
        bench.make("prompts", f"prompts-{count}", count)
    yield Case(
        f"growth of prepare, {sizes[0]:,} rows first", [_prepare(f"prompts-{n}", n) for n in sizes], *_each(sizes)
    )
    for count in sizes:
        bench.make("requests", f"input-{count}", count, count * 330)
    yield Case(f"growth of check, {sizes[0]:,} rows first", [_check(f"input-{n}", n) for n in sizes], *_each(sizes))
    for count in sizes:
        (bench.folder / f"input-{count}").unlink()
        bench.make("results", f"results-{count}", count, _parts(count), "stretches")
    joins = [_work(f"obatch: collect, {n:,} rows", "join", f"results-{n}", f"joined-{n}") for n in sizes]
    yield Case(f"growth of join, {sizes[0]:,} rows first", joins, *_each(sizes))


CASES: dict[str, Callable[[Bench], Iterator[Case]]] = {
    each.__name__: each for each in (prepare, check, join, trip, ls, start, growth)
}


def _each(sizes: list[int]) -> tuple[float, str, int, list[float]]:
    return 0, "rows", 1, [float(size) for size in sizes]


def _parts(count: int) -> int:
    """Return how many batches of 50,000 that many requests are, and four at least."""
    return max(4, -(-count // 50_000))


def _obatch(*words: str, name: str | None = None) -> Command:
    return Command(name or f"obatch {' '.join(words)}".strip(), (sys.executable, "-m", "openai_batch", *words))


def _prepare(source: str, rows: int = 0) -> Command:
    name = "obatch prepare" + (f", {rows:,} rows" if rows else "")
    return _obatch("prepare", source, "-o", "made.jsonl", "--force", "-m", "gpt-4o-mini", name=name)


def _check(source: str, rows: int = 0) -> Command:
    name = "obatch check" + (f", {rows:,} rows" if rows else "")
    return _obatch("check", source, "-p", "bench", name=name)


def _work(name: str, *words: object) -> Command:
    return Command(name, (sys.executable, str(HERE / "work.py"), *map(str, words)))


@contextmanager
def _server() -> Iterator[str]:
    words = [sys.executable, str(HERE / "server.py")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdin is None:
            raise SystemExit("the server has no pipes")
        yield process.stdout.readline().strip()
        process.stdin.close()
