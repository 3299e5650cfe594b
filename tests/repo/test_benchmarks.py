"""Each benchmark runs at a small size, with all its commands. The figures are not checked."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"
SIZES = {
    "prompts": "40",
    "megabytes": "1",
    "requests": "20",
    "results": "30",
    "jobs": "12",
    "parts": "2",
    "growth": "10",
}
TINY = ["--quick", *(word for name, size in SIZES.items() for word in (f"--{name}", size)), "20"]
CASES = {
    "prepare": (1, ["obatch prepare", "reading and writing the bytes"]),
    "check": (2, ["obatch check", "parsing the lines with msgspec", "reading the bytes"]),
    "join": (2, ["obatch: collect", "all lines in a dict, then out", "reading and writing the bytes"]),
    "tables": (
        1,
        ["obatch download: csv", "obatch download: parquet", "obatch download: jsonl", "json and csv of Python"],
    ),
    "grown": (1, ["obatch run", "obatch run, 1 % more rows"]),
    "parts": (2, ["obatch run, 4 at a time", "obatch run, 1 at a time", "obatch run, 16 at a time"]),
    "local": (2, ["obatch: the local executor", "aiohttp alone"]),
    "ls": (1, ["obatch ls", "sqlite3 alone: print every row", "obatch __complete jobs"]),
    "start": (1, ["obatch --version", "obatch --help", "obatch ls", "obatch __complete jobs", "a bare Typer program"]),
    "growth": (
        1,
        ["obatch prepare, 20 rows", "obatch check, 10 rows", "obatch run, 20 rows", "obatch: collect, 10 rows"],
    ),
}
TRIP = (
    2,
    [
        "obatch run: all of it, checked",
        "obatch: the transfers alone",
        "the openai client, streaming",
        "curl, four calls",
    ],
)
FIGURES = r" +\d+\.\d\d +\d+\.\d\d +\d+"
"""CPU seconds, wall seconds, and peak memory in MB."""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command of the benchmarks."""
    command = [sys.executable, str(RUN), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")


def assert_figures(done: subprocess.CompletedProcess[str], variants: int, commands: list[str]) -> None:
    """Assert that each command has as many rows of figures as the case has variants."""
    assert done.returncode == 0, done.stderr
    for command in commands:
        if command.startswith("curl") and not shutil.which("curl"):
            continue
        rows = re.findall(rf"^  {re.escape(command)}{FIGURES}", done.stdout, re.MULTILINE)
        assert len(rows) >= variants, done.stdout


@pytest.mark.parametrize("name", CASES)
def test_each_case_prints_its_commands(name: str) -> None:
    """Every command of the case succeeds, and has a row of figures for each variant."""
    assert_figures(run(name, *TINY), *CASES[name])


def test_a_round_trip_has_figures_or_reasons(tmp_path: Path) -> None:
    """A package that is not installed, fails, or leaves answers out has a row with the reason; others have figures."""
    programs = {
        "batchwizard/bin/batchwizard": "echo all is well",
        "loom-batch/bin/loom": "echo no such thing >&2; exit 3",
    }
    for name, line in programs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    done = run("trip", *TINY, "--peers", str(tmp_path))
    assert_figures(done, *TRIP)
    for row in (
        r"openai-batch 0\.3\.4 +not installed",
        r"batchwizard \S+ +failed: 0 of 20 answers are there; it said: all is well",
        r"loom-batch \S+ +failed: exit code 3; it said: no such thing",
    ):
        assert len(re.findall(rf"^  {row}$", done.stdout, re.MULTILINE)) == 2, done.stdout


def test_runners_have_figures_or_reasons(tmp_path: Path) -> None:
    """A program that sends the requests itself has figures if it is installed and all of its answers are there."""
    program = tmp_path / "flexllm" / "bin" / "flexllm"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\ngrep -c messages "$2"\n')
    program.chmod(0o755)
    done = run("local", *TINY, "--peers", str(tmp_path))
    assert_figures(done, *CASES["local"])
    for row in (r"saturate \S+ +not installed", r"flexllm \S+ +failed: 0 of 4 answers are there; it said: 4"):
        assert len(re.findall(rf"^  {row}$", done.stdout, re.MULTILINE)) == 2, done.stdout


def test_the_head_shows_time_machine_and_versions() -> None:
    """The table begins with the date, the machine, its load, and the versions of Python and packages."""
    head = run("ls", *TINY).stdout.split("\n\n")[0]
    assert re.match(r"\d{4}-\d\d-\d\d, \w+ \w+, .+, \d+ cores\nload average", head)
    assert re.search(r"Python 3\.\d+\.\d+, openai-batch [\d.]+, openai [\d.]+, msgspec ", head)


def test_an_unknown_case_is_refused() -> None:
    """The error for an unknown case shows the known ones."""
    done = run("prepared")
    assert done.returncode == 2
    assert "no case 'prepared'; there are prepare, check, join" in done.stderr
