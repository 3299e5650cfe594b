"""The benchmarks run: each case, at tiny sizes, with every command of it. What they took is nobody's business here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"
SIZES = {"prompts": "40", "megabytes": "1", "requests": "20", "results": "30", "jobs": "12", "growth": "10"}
TINY = ["--quick", *(word for name, size in SIZES.items() for word in (f"--{name}", size)), "20"]
CASES = {
    "prepare": (1, ["obatch prepare", "reading and writing the bytes"]),
    "check": (2, ["obatch check", "parsing the lines with msgspec", "reading the bytes"]),
    "join": (2, ["obatch: collect", "all lines in a dict, then out", "reading and writing the bytes"]),
    "trip": (2, ["obatch: upload and download", "the openai client, streaming", "curl, twice"]),
    "ls": (1, ["obatch ls", "sqlite3 alone: print every row"]),
    "start": (1, ["obatch --version", "obatch --help", "obatch ls", "obatch __complete jobs", "a bare Typer program"]),
    "growth": (1, ["obatch prepare, 20 rows", "obatch check, 10 rows", "obatch: collect, 20 rows"]),
}
FIGURES = r" +\d+\.\d\d +\d+\.\d\d +\d+"
"""CPU seconds, wall seconds, peak memory in MB."""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks' command."""
    command = [sys.executable, str(RUN), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_each_case_prints_its_commands(name: str) -> None:
    """Every command of the case ends well and has its row of figures, as often as the case has variants."""
    done = run(name, *TINY)
    assert done.returncode == 0, done.stderr
    variants, commands = CASES[name]
    for command in commands:
        if command.startswith("curl") and not shutil.which("curl"):
            continue
        rows = re.findall(rf"^  {re.escape(command)}{FIGURES}", done.stdout, re.MULTILINE)
        assert len(rows) >= variants, done.stdout


def test_the_head_tells_when_where_and_what() -> None:
    """A table can be read alone: its date, machine, load, Python and packages stand over it."""
    head = run("ls", *TINY).stdout.split("\n\n")[0]
    assert re.match(r"\d{4}-\d\d-\d\d, \w+ \w+, .+, \d+ cores\nload average", head)
    assert re.search(r"Python 3\.\d+\.\d+, openai-batch [\d.]+, openai [\d.]+, msgspec ", head)


def test_an_unknown_case_is_refused() -> None:
    """A wrong name ends with the right ones."""
    done = run("prepared")
    assert done.returncode == 2
    assert "no case 'prepared'; there are prepare, check, join" in done.stderr
