"""The cases: what is compared with what. Each is a function that writes its files and yields the commands to run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from inputs import MARK
from measure import Case, Command
from peers import PREVIOUS, python_of, runs, trips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
_PROFILE = """
[providers.bench]
base_url = "{url}"
max_requests = {most}
max_bytes = 100_000_000_000
"""
_MOST = 50_000  # requests in one batch, as at OpenAI
_BASE_URL = "https://bench.example/v1"
_CURL = """
value() { sed -n 's/.*"'"$1"'": *"\\([^"]*\\)".*/\\1/p'; }
file=$(curl -sSf -F purpose=batch -F 'file=@input.jsonl;filename=f.jsonl' "$1/files" | value id) &&
order='{"input_file_id": "'"$file"'", "endpoint": "/v1/chat/completions", "completion_window": "24h"}' &&
batch=$(curl -sSf -H 'Content-Type: application/json' -d "$order" "$1/batches" | value id) &&
result=$(curl -sSf "$1/batches/$batch" | value output_file_id) &&
curl -sSf "$1/files/$result/content" -o curl.jsonl
"""
_REQUEST, _RESULT = 900, 560
"""Bytes of a request and of its result, in the cases about the number of requests."""

_STARTS = 7
"""How often a command is run if it takes a fraction of a second."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The size of each case."""

    prompts: int
    megabytes: int
    requests: int
    results: int
    jobs: int
    parts: int
    growth: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """The folder of the cases, their sizes, and the folder of the peers' environments, if there is one."""

    folder: Path
    sizes: Sizes
    peers: Path | None

    @property
    def old_python(self) -> str | None:
        """The Python of the environment with openai-batch 0.3.4, if there is one."""
        return python_of(self.peers, PREVIOUS) if self.peers else None

    def environment(self) -> dict[str, str]:
        """Return the environment of every measured process: its own registry and configuration, and no key.

        Settings of Python are left out. Installed packages have compiled caches, and so has this one after its first
        run.
        """
        self.configure("config.toml", _BASE_URL)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OBATCH_", "PYTHON"))
        }
        return kept | {
            "OBATCH_STATE_DIR": str(self.folder / "state"),
            "OBATCH_CONFIG": str(self.folder / "config.toml"),
            "NO_PROXY": "127.0.0.1",
        }

    def configure(self, name: str, url: str, most: int = _MOST) -> str:
        """Write a configuration whose provider `bench` is at `url`, with `most` requests per batch; return its path."""
        path = self.folder / name
        path.write_text(_PROFILE.format(url=url, most=most), encoding="utf-8")
        return str(path)

    def make(self, *words: object) -> None:
        """Write inputs in a separate process, because the memory of this one would count in the figures."""
        command = [sys.executable, str(HERE / "inputs.py"), *map(str, words)]
        subprocess.run(command, check=True, cwd=self.folder, env=self.environment())

    def bytes_of(self, *names: str) -> float:
        """Return the total size of the files in bytes."""
        return sum(path.stat().st_size for name in names for path in self.folder.glob(name))

    def answers(self, pattern: str, count: int, mark: str = MARK) -> Callable[[], str]:
        """Return a function that counts the answers in some files, says what is missing, and removes the files."""

        def look() -> str:
            found = 0
            for path in self.folder.glob(pattern):
                with path.open("rb") as lines:
                    found += sum(mark.encode() in line for line in lines)
                path.unlink()
            return "" if found == count else f"{found:,} of {count:,} answers are there"

        return look

    def clear(self) -> None:
        """Remove the files of a case."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def prepare(bench: Bench) -> Iterator[Case]:
    """Measure making a batch input from prompts."""
    count = bench.sizes.prompts
    bench.make("prompts", "prompts.txt", count)
    commands = [_prepare("prompts.txt")]
    if bench.old_python:
        words = (bench.old_python, str(HERE / "work.py"), "old_prepare", "prompts.txt", "old.jsonl")
        commands.append(Command("openai-batch 0.3.4, its limits lifted", words))
    commands.append(_work("reading and writing the bytes", "copy", "prompts.txt", "copy"))
    yield Case(f"prepare {count:,} prompts", commands, count, "rows")


def check(bench: Bench) -> Iterator[Case]:
    """Measure checking batch inputs of one size, with long lines and with short ones."""
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
    """Measure joining results in random order, with parts that follow each other and with mixed ones."""
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
    """Measure a round trip over the loopback: uploading a file, creating a batch and downloading its results."""
    count = bench.sizes.requests
    for up, down in ((count * _REQUEST, count * _RESULT), (bench.sizes.megabytes * 1_000_000,) * 2):
        bench.make("requests", "input.jsonl", count, up)
        if bench.peers:
            bench.make("table", "input.jsonl", "input.csv")
        with _server(bench, down // count) as url:
            commands = [
                _run(bench, url, "input.jsonl", count),
                _trip(bench, "obatch: the transfers alone", "trip", url, "sent.jsonl"),
                _trip(bench, "the openai client, streaming", "bare_trip", url, "bare.jsonl"),
            ]
            if shutil.which("curl"):
                words = ("sh", "-c", _CURL, "sh", url)
                commands.append(Command("curl, four calls", words, whole=bench.answers("curl.jsonl", count)))
            if bench.peers:
                home = bench.folder / "home"
                home.mkdir(exist_ok=True)
                commands += trips(bench.peers, url, home, lambda pattern: bench.answers(pattern, count))
            found = (bench.bytes_of("input.jsonl") + down) / 1e6
            yield Case(
                f"round trip of {count:,} requests, {up / 1e6:,.1f} MB up, {down / 1e6:,.1f} MB down",
                commands,
                found,
                "MB",
            )


def tables(bench: Bench) -> Iterator[Case]:
    """Measure exporting the same results, which are kept with the job, as JSON lines, CSV and Parquet."""
    count = bench.sizes.results
    bench.make("requests", "input.jsonl", count, count * _REQUEST)
    with _server(bench, _RESULT) as url:
        env = {"OBATCH_CONFIG": bench.configure("tables.toml", url)}
        first = _obatch("run", "input.jsonl", "-o", "first.jsonl", "-p", "bench", "-q", name="the run before")
        subprocess.run(first.words, check=True, cwd=bench.folder, env=bench.environment() | env, capture_output=True)
        commands = [
            replace(
                _obatch("download", "1", "-o", f"table.{form}", "--force", "-q", name=f"obatch download: {form}"),
                env=env,
            )
            for form in ("csv", "parquet", "jsonl")
        ]
        commands.append(_work("json and csv of Python", "csv", "first.jsonl", "plain.csv"))
        yield Case(f"tables of {count:,} results", commands, count, "rows")


def grown(bench: Bench) -> Iterator[Case]:
    """Measure a run of an input, and a run of the same input with one percent more rows."""
    count = bench.sizes.results // 2
    bench.make("requests", "all.jsonl", count + count // 100 + 1, (count + count // 100 + 1) * _REQUEST)
    with _server(bench, _RESULT) as url:
        words = f"{sys.executable} -m openai_batch run input.jsonl -o whole.jsonl -p bench"
        env = {"OBATCH_CONFIG": bench.configure("grown.toml", url)}
        commands = [
            Command("obatch run", ("sh", "-c", f"head -n {count} all.jsonl > input.jsonl && exec {words}"), env),
            Command("obatch run, 1 % more rows", ("sh", "-c", f"cat all.jsonl > input.jsonl && exec {words}"), env),
        ]
        yield Case(f"an input of {count:,} requests that grows", commands, count, "rows", rounds=1)


def parts(bench: Bench) -> Iterator[Case]:
    """Measure a job of several parts over a slow link, and with a server that answers slowly."""
    pieces = bench.sizes.parts
    count = pieces * max(1, bench.sizes.requests // pieces)
    size = min(bench.sizes.megabytes, 70) * 1_000_000
    bench.make("requests", "input.jsonl", count, size)
    # A job cannot take less time than the link needs for its bytes.
    links = (
        (0.1, 20e6, 0, "100 ms, 20 MB/s"),
        (0, 0, 1.0, "1 s for each POST"),
        (1.0, 0, 0, "1 s for each answer"),
    )
    for *link, what in links:
        with _server(bench, 20, *link) as url:
            commands = [
                _run(
                    bench,
                    url,
                    "input.jsonl",
                    count,
                    f"obatch run, {n} at a time",
                    count // pieces,
                    "--parallel",
                    str(n),
                )
                for n in (4, 1, 16)
            ]
            yield Case(f"{pieces} parts, {what}, {size / 1e6:,.0f} MB up", commands, pieces, "parts", rounds=1)


def ls(bench: Bench) -> Iterator[Case]:
    """Measure a list of many jobs, and completion among them."""
    count = bench.sizes.jobs
    bench.make("jobs", count)
    commands = [
        _obatch("ls"),
        _work("a bare Typer program", "hello"),
        _work("sqlite3 alone: print every row", "rows", str(bench.folder / "state" / "registry.db")),
    ]
    yield Case(f"ls, {count:,} jobs", commands, count, "jobs", rounds=5)
    completed = [_obatch("__complete", "jobs", ""), Command("Python: pass", (sys.executable, "-c", "pass"))]
    yield Case(f"a TAB among {count:,} jobs", completed, rounds=_STARTS)


def local(bench: Bench) -> Iterator[Case]:
    """Measure batches of the local provider, with an upstream that answers at once."""
    count = max(1, bench.sizes.requests // 5)
    bench.make("requests", "input.jsonl", count, count * _REQUEST)
    with _process([sys.executable, str(HERE.parent / "tests" / "support" / "instant.py")]) as url:
        for workers in (8, 64):
            settings = json.dumps({"upstream": url, "concurrency": workers})
            commands = [
                _work("obatch: the local executor", "local_batch", settings, "input.jsonl"),
                _work("aiohttp alone", "bare_calls", url, "input.jsonl", workers),
            ]
            if bench.peers:
                bench.make("messages", "input.jsonl", "messages.jsonl")
                whole = partial(bench.answers, count=count, mark='"<')
                commands += runs(bench.peers, url, workers, bench.folder, whole)
            yield Case(f"local batch of {count:,} requests, {workers} at a time", commands, count, "rows")


def engine(bench: Bench) -> Iterator[Case]:
    """Measure batches of the local provider with its embedded engine."""
    chats = max(4, bench.sizes.requests // 1000)
    bench.make("chats", "chats.jsonl", chats)
    absent = "" if find_spec("xllamacpp") else "not installed"
    engines = [
        replace(
            _work(
                f"one process, {slots} at a time",
                "local_batch",
                f'{{"concurrency": 1, "slots": {slots}}}',
                "chats.jsonl",
            ),
            absent=absent,
        )
        for slots in (8, 1)
    ]
    yield Case(f"embedded engine, {chats} chats", engines, chats, "rows")


def start(bench: Bench) -> Iterator[Case]:
    """Measure the start of commands, with a few jobs in the registry."""
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
    """Measure prepare, check, run and join at sizes that grow tenfold, the largest first."""
    sizes = sorted(bench.sizes.growth, reverse=True)
    for count in sizes:
        bench.make("prompts", f"prompts-{count}", count)
    yield Case(
        f"growth of prepare, {sizes[0]:,} rows first", [_prepare(f"prompts-{n}", n) for n in sizes], *_each(sizes)
    )
    for count in sizes:
        bench.make("requests", f"input-{count}", count, count * 330)
    yield Case(f"growth of check, {sizes[0]:,} rows first", [_check(f"input-{n}", n) for n in sizes], *_each(sizes))
    with _server(bench, _RESULT) as url:
        runs = [_run(bench, url, f"input-{n}", n, name=f"obatch run, {n:,} rows") for n in sizes]
        yield Case(f"growth of run, {sizes[0]:,} rows first", runs, *_each(sizes))
    for count in sizes:
        (bench.folder / f"input-{count}").unlink()
        bench.make("results", f"results-{count}", count, _parts(count), "stretches")
    joins = [_work(f"obatch: collect, {n:,} rows", "join", f"results-{n}", f"joined-{n}") for n in sizes]
    yield Case(f"growth of join, {sizes[0]:,} rows first", joins, *_each(sizes))


CASES: dict[str, Callable[[Bench], Iterator[Case]]] = {
    each.__name__: each for each in (prepare, check, join, trip, tables, grown, parts, local, engine, ls, start, growth)
}


def _each(sizes: list[int]) -> tuple[float, str, int, list[float]]:
    return 0, "rows", 1, [float(size) for size in sizes]


def _parts(count: int) -> int:
    """Return how many batches of 50,000 `count` requests need, and at least four."""
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


def _run(
    bench: Bench,
    url: str,
    source: str,
    count: int,
    name: str = "obatch run: all of it, checked",
    most: int = _MOST,
    *more: str,
) -> Command:
    words = (sys.executable, "-m", "openai_batch", "run", source, "-o", "whole.jsonl", "-p", "bench", "--again", *more)
    env = {"OBATCH_CONFIG": bench.configure("trip.toml", url, most)}
    return Command(name, words, env, bench.answers("whole.jsonl", count))


def _trip(bench: Bench, name: str, what: str, url: str, target: str) -> Command:
    command = _work(name, what, url, "input.jsonl", target)
    return replace(command, whole=bench.answers(target, bench.sizes.requests))


@contextmanager
def _server(bench: Bench, size: int, *link: float) -> Iterator[str]:
    folder = bench.folder / "provider"
    folder.mkdir(exist_ok=True)
    words = [sys.executable, str(HERE / "server.py"), str(folder), str(size), *map(str, link)]
    with _process(words) as url:
        yield url


@contextmanager
def _process(words: list[str]) -> Iterator[str]:
    """Run a server that prints its URL, and ends when its standard input is closed."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdin is None:
            raise SystemExit("the server has no pipes")
        yield process.stdout.readline().strip()
        process.stdin.close()
