"""Run commands as whole processes, in turn, and take the operating system's own account of each."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of `ru_maxrss`."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is measured: its name in the table and its words."""

    name: str
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Case:
    """A subject and what it is held against. `amount` is how many `unit` one run handles, 0 for none.

    `rounds` is how many runs of each are made, where a case wants its own number; `amounts` gives each command an
    amount of its own.
    """

    title: str
    commands: Sequence[Command]
    amount: float = 0
    unit: str = ""
    rounds: int | None = None
    amounts: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run took: seconds of processor, seconds of clock, bytes of memory at the peak."""

    cpu: float
    wall: float
    peak: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of a command, and the medians of (the case's first command ÷ this one), run by run."""

    usage: Usage
    cpu_ratio: float
    wall_ratio: float


def measure(case: Case, rounds: int, folder: Path, env: dict[str, str]) -> list[Figures]:
    """Run the case's commands A B A B …, `rounds` times each.

    Raises SystemExit with what a command said if it fails.
    """
    turns = [[run(command, folder, env) for command in case.commands] for _ in range(rounds)]
    found = []
    for runs in zip(*turns, strict=True):
        pairs = list(zip([turn[0] for turn in turns], runs, strict=True))
        usage = Usage(
            statistics.median(each.cpu for each in runs),
            statistics.median(each.wall for each in runs),
            int(statistics.median(each.peak for each in runs)),
        )
        cpu = statistics.median(first.cpu / (each.cpu or 1e-6) for first, each in pairs)
        wall = statistics.median(first.wall / each.wall for first, each in pairs)
        found.append(Figures(usage, cpu, wall))
    return found


def run(command: Command, folder: Path, env: dict[str, str]) -> Usage:
    """Run a command to its end, with nothing to read and its output thrown away. Raises SystemExit if it fails."""
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command.words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, cwd=folder, env=env
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            told = said.read().decode(errors="replace")
            raise SystemExit(f"{command.name} failed with exit code {process.returncode}:\n{told}")
    return Usage(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * _PEAK_UNIT)
