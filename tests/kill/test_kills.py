"""After a kill at any moment, the same command ends with one batch, complete results, and no leftover files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kill.conftest import FULL
from kill.sweep import Moment, World, Zygote, relevant, world
from support.command import STOPS
from support.servers import wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

pytestmark = pytest.mark.slow


COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # the commands that run before, without a kill; the command that is killed
    "submit": ((), ("submit", "in.jsonl")),
    "wait": (("submit", "in.jsonl"), ("wait",)),
    "download": (("submit", "in.jsonl"), ("download", "-o", "out.jsonl")),
    "run": ((), ("run", "in.jsonl", "-o", "out.jsonl")),
    "recover": (("submit", "in.jsonl"), ("recover",)),
}
WORST = ("recv", "link")
"""The crash points that are always tested: an answer that never arrives, and results that have no name yet."""

POINTS = 10
"""The number of other crash points of a command in a sample."""

CALLS = 8
"""The number of system calls of a command in a sample."""


def prepare(made: World, name: str, plan: str = "fault:rows=shuffled") -> None:
    """Run the commands that come before the one that is killed."""
    made.write(plan)
    before, _ = COMMANDS[name]
    if before:
        assert made.run(*before).code == 0
    if name == "recover":
        for path in made.state.glob("registry.db*"):
            path.unlink()


def results(made: World, name: str) -> bytes | None:
    """Return the results that a command has written; for the other commands, they are downloaded."""
    if name in ("submit", "wait", "recover"):
        ended = made.run_on("run", "in.jsonl", "-o", "out.jsonl")
        if ended.code == 7:
            return None
        assert ended.code == 0, ended
    path = made.work / "out.jsonl"
    return path.read_bytes() if path.exists() else None


def hit(
    folder: Path, zygote: Zygote, name: str, moments: list[Moment], plan: str = "fault:rows=shuffled"
) -> bytes | None:
    """Run a command, interrupt it and its repeats at those moments, run it until it ends, and return the results."""
    with world(folder, zygote) as made:
        prepare(made, name, plan)
        words = COMMANDS[name][1]
        try:
            for moment in moments:
                made.run(*words, moment=moment)
            ended = made.run_on(*words)
            made.check(ended)
            found = results(made, name)
            made.check(ended)
        except AssertionError as exc:
            exc.add_note(f"obatch {' '.join(words)}, {' then '.join(map(str, moments))}")
            raise
        return found if ended.code == 0 else None


def without_kill(folder: Path, zygote: Zygote, name: str) -> tuple[list[str], bytes]:
    """Return the crash points of a command, and its results without a kill."""
    with world(folder, zygote) as made:
        prepare(made, name)
        ended = made.run(*COMMANDS[name][1], points=str(made.log / "points"))
        assert ended.code == 0, ended
        found = results(made, name)
        assert found is not None
        made.check(ended)
        return ended.points, found


def traced(folder: Path, zygote: Zygote, name: str) -> list[Moment]:
    """Return the system calls of a command."""
    with world(folder, zygote) as made:
        prepare(made, name)
        log = made.log / "trace"
        assert made.run(*COMMANDS[name][1], trace=log).code == 0
        calls = relevant(log, made)
        assert len(calls) > 10, calls
        return [Moment(number, call) for call, number in calls]


def chosen(rng: random.Random, moments: list[Moment], number: int) -> list[Moment]:
    """Return all of the moments, or a random sample of that size."""
    return moments if FULL or number >= len(moments) else rng.sample(moments, number)


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_a_crash_point(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None], name: str
) -> None:
    """SIGKILL before a statement, a send, a receive, a sync or a rename; then the command is run again."""
    points, expected = without_kill(tmp_path, zygote, name)
    every = {Moment(number): point for number, point in enumerate(points, 1)}
    worst = [moment for moment, point in every.items() if point in WORST]
    moments = worst + chosen(rng, [moment for moment in every if moment not in worst], POINTS)
    uncertain = 0
    for moment in moments:
        found = hit(tmp_path, zygote, name, [moment])
        assert found in (expected, None), moment
        uncertain += found is None
    figures(kills=len(moments), of=len(every), uncertain=uncertain, doubles=0, losses=0)


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_a_system_call(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None], name: str
) -> None:
    """SIGKILL at the start of a call that accesses the network or a disk; then the command is run again."""
    _, expected = without_kill(tmp_path, zygote, name)
    every = traced(tmp_path, zygote, name)
    moments = chosen(rng, every, CALLS)
    uncertain = 0
    for moment in moments:
        found = hit(tmp_path, zygote, name, [moment])
        assert found in (expected, None), moment
        uncertain += found is None
    figures(kills=len(moments), of=len(every), uncertain=uncertain, doubles=0, losses=0)


@pytest.mark.parametrize("name", ["run", "download"])
def test_killed_twice(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None], name: str
) -> None:
    """The run after a kill is killed too, both at random points."""
    points, expected = without_kill(tmp_path, zygote, name)
    pairs = 150 if FULL else 12
    uncertain = 0
    for _ in range(pairs):
        moments = [Moment(rng.randint(1, len(points))) for _ in range(2)]
        found = hit(tmp_path, zygote, name, moments)
        assert found in (expected, None), moments
        uncertain += found is None
    figures(kills=2 * pairs, uncertain=uncertain, doubles=0, losses=0)


@pytest.mark.parametrize("name", ["run", "wait", "download"])
def test_a_signal_stops_a_command(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None], name: str
) -> None:
    """A signal at any point ends a command at once with its exit code and no traceback; nothing is cancelled."""
    passed, expected = without_kill(tmp_path, zygote, name)
    points = list(range(1, len(passed) + 1))
    worst = [point for point in points if passed[point - 1] == "committed"][:2]
    points = points if FULL else [*worst, *rng.sample(points, 6)]
    stops = [(point, number) for point in points for number in (STOPS if FULL else rng.sample(STOPS, 1))]
    for point, number in stops:
        with world(tmp_path, zygote) as made:
            prepare(made, name)
            made.configure(create_timeout=3600, create_grace=3600)  # longer than any test
            ended = made.run(*COMMANDS[name][1], moment=Moment(point, signum=number))
            assert ended.code in (128 + number, -number), (point, ended)
            assert ended.code < 0 or "error: interrupted" in ended.err or not ended.err, (point, ended)
            assert not made.server.seen("POST", "/batches/.*/cancel")
            made.configure()
            made.check(made.run_on(*COMMANDS[name][1]))
            assert results(made, name) in (expected, None)
    figures(signals=len(stops), of=len(passed) * len(STOPS), doubles=0, losses=0)


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_before_there_is_a_job(here: World, number: int) -> None:
    """A command that reads its input ends with the exit code of the signal, and under nohup it continues."""
    words = [sys.executable, "-m", "openai_batch", "prepare", "-", "-m", "gpt-4o-mini"]
    for protected in (False, True):
        process = subprocess.Popen(
            words,
            cwd=here.work,
            env=here.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=(lambda: signal.signal(number, signal.SIG_IGN)) if protected else None,  # noqa: PLW1509
        )
        other = signal.SIGTERM if number == signal.SIGHUP else signal.SIGHUP
        wait_until(lambda: handles(process.pid, other), "the handlers")  # noqa: B023
        wait_until(lambda: reads(process.pid), "the reading of the input")  # noqa: B023
        process.send_signal(number)
        if protected:
            time.sleep(0.2)
            assert process.poll() is None
        out, err = process.communicate(b"A prompt\n" if protected else None)
        assert process.returncode == (0 if protected else 128 + number), err
        assert b"Traceback" not in err
        assert bool(out) is protected


def reads(pid: int) -> bool:
    """Return whether a process waits for a pipe; some kernels only show that it sleeps."""
    where = Path(f"/proc/{pid}/wchan").read_text()
    asleep = "State:\tS" in Path(f"/proc/{pid}/status").read_text()
    return "pipe" in where or (asleep and where in ("", "0"))


def handles(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal."""
    (mask,) = re.findall(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.usefixtures("strace")
def test_a_separate_process_is_killed(tmp_path: Path, zygote: Zygote, figures: Callable[..., None]) -> None:
    """The program without the fork server is killed while it waits for the answer to the create."""
    with world(tmp_path, zygote) as made:
        prepare(made, "run")
        words = [sys.executable, "-m", "openai_batch", *COMMANDS["run"][1]]
        # The third answer: the first two are those to the list and to the upload.
        tracer = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=recvfrom:signal=KILL:when=3"]
        done = subprocess.run([*tracer, *words], cwd=made.work, env=made.env, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done
        assert len(made.server.creates) == 1
        done = subprocess.run(words, cwd=made.work, env=made.env, capture_output=True, check=False)
        assert done.returncode == 0, done
        made.check(made.run(*COMMANDS["run"][1]))
        assert len(made.server.batches) == 1
    figures(kills=1, doubles=0, losses=0)


def test_the_registry_is_deleted_between_two_tries(tmp_path: Path, zygote: Zygote) -> None:
    """If the registry is deleted after a submit, the same input is not paid again, because the job folder is found."""
    with world(tmp_path, zygote) as made:
        made.write()
        count = len(made.run("submit", "in.jsonl", points=str(made.log / "points")).points)
        for path in made.state.glob("registry.db*"):
            path.unlink()
        assert count > 20
        ended = made.run("run", "in.jsonl", "-o", "out.jsonl")
        assert ended.code == 0, ended
        made.check(ended)
        assert len(made.server.batches) == 1
        assert made.run("submit", "in.jsonl", "--again").code == 0
        assert len(made.server.batches) == 2


def test_killed_while_answers_are_lost(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None]
) -> None:
    """The provider does what it is asked, but its answers are lost, and the command is killed at a random point."""
    points, expected = without_kill(tmp_path, zygote, "run")
    numbers = range(1, 2 * len(points)) if FULL else rng.sample(range(1, len(points)), 6)
    for number in [0, *numbers]:
        moments = [Moment(number)] if number else []
        plan = f"fault:rows=shuffled;create=made.{rng.choice(['reset', '500', 'cut'])};upload=made.500;content=reset"
        assert hit(tmp_path, zygote, "run", moments, plan) in (expected, None), plan
    figures(kills=len(numbers), doubles=0, losses=0)


def test_another_job_takes_the_name_after_a_kill(here: World) -> None:
    """Killed just before its results have their name, a command does not replace a file that appears there later."""
    here.write()
    assert here.run("submit", "in.jsonl").code == here.run("wait").code == 0
    words = ("download", "-o", "out.jsonl")
    assert here.run(*words).code == 0  # the results are now kept with the job
    (here.work / "out.jsonl").unlink()
    points = here.run(*words, points=str(here.log / "points")).points
    (here.work / "out.jsonl").unlink()
    here.run(*words, moment=Moment(next(n for n, name in enumerate(points, 1) if name in ("link", "replace"))))
    assert not (here.work / "out.jsonl").exists()
    (here.work / "out.jsonl").write_text("precious")
    ended = here.run(*words)
    assert ended.code == 1, ended
    assert "already exists" in ended.err
    assert (here.work / "out.jsonl").read_text() == "precious"
    here.check_tidy()
