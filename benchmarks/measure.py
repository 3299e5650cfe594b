"""Run commands as whole processes, in turn, and read from the operating system what each one used."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of `ru_maxrss`."""

_WORDS = 300
"""How many characters of a failed command's last line are shown."""

_LONG = 60.0
"""A command that takes more seconds than this is run once."""


@dataclass(frozen=True, slots=True)
class Command:
    """A measured command: its name in the table, its words, and its additional environment variables.

    `whole` is called after each run, and returns what is missing, "" for nothing. If a command that `may_fail` fails,
    its row says why. A command with a reason in `absent` is not run.
    """

    name: str
    words: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    whole: Callable[[], str] = str
    may_fail: bool = False
    absent: str = ""


class FailedError(Exception):
    """A command failed. The text says why, in one line; `said` is its whole output."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(reason)
        self.said = said


@dataclass(frozen=True, slots=True)
class Case:
    """A command and those it is compared with. `amount` is how many `unit` one run handles, 0 for none.

    `rounds` is the number of runs of each command, if the case sets it; `amounts` sets the amount of each command
    separately.
    """

    title: str
    commands: Sequence[Command]
    amount: float = 0
    unit: str = ""
    rounds: int | None = None
    amounts: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of one run: processor seconds, wall seconds, and peak memory in bytes."""

    cpu: float
    wall: float
    peak: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of a command, and the medians of (the case's first command ÷ this one), run by run."""

    usage: Usage
    cpu_ratio: float
    wall_ratio: float


def measure(case: Case, rounds: int, folder: Path, env: dict[str, str]) -> list[Figures | str]:
    """Run the case's commands A B A B …, `rounds` times each. Without figures, the text says why.

    A command that takes over a minute runs once.

    Raises SystemExit with the output of a command that fails and may not fail.
    """
    turns: list[list[Usage]] = [[] for _ in case.commands]
    failed = {number: command.absent for number, command in enumerate(case.commands) if command.absent}
    for _ in range(rounds):
        for number, command in enumerate(case.commands):
            if number in failed or (turns[number] and turns[number][-1].wall > _LONG):
                continue
            try:
                turns[number].append(run(command, folder, env))
            except FailedError as exc:
                if not command.may_fail:
                    raise SystemExit(f"{exc.said}\n{command.name} failed: {exc}") from None
                failed[number] = f"failed: {exc}"
    return [failed.get(number) or _figures(turns[0], runs) for number, runs in enumerate(turns)]


def _figures(first: list[Usage], runs: list[Usage]) -> Figures:
    usage = Usage(
        statistics.median(each.cpu for each in runs),
        statistics.median(each.wall for each in runs),
        int(statistics.median(each.peak for each in runs)),
    )
    pairs = list(zip(first, runs, strict=False))
    cpu = statistics.median(one.cpu / (each.cpu or 1e-6) for one, each in pairs)
    wall = statistics.median(one.wall / each.wall for one, each in pairs)
    return Figures(usage, cpu, wall)


def run(command: Command, folder: Path, env: dict[str, str]) -> Usage:
    """Run a command to its end, without input. Raises FailedError with its last line if it fails."""
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command.words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=folder, env=env | dict(command.env)
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        lacking = f"exit code {process.returncode}" if process.returncode else command.whole()
        if lacking:
            said.seek(0)
            words = said.read().decode(errors="replace")
            last = next((line.strip() for line in reversed(words.split("\n")) if line.strip()), "nothing")
            raise FailedError(f"{lacking}; it said: {last[:_WORDS]}", words)
    return Usage(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * _PEAK_UNIT)
