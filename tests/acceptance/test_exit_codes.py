"""Each documented exit code, from the real command and a real cause, in a pipe and in a terminal."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import configure
from support.command import STOPS, Terminal, invoke, plain, request, see, write

from openai_batch import errors
from openai_batch.cli.app import EPILOG

if TYPE_CHECKING:
    from support.faults import FaultServer

RUNS_ON = ",".join(["in_progress"] * 300)


@dataclass(frozen=True)
class Cause:
    """A command line that exits with `code`; `says` is in its last lines."""

    code: int
    words: str
    says: str
    fault: str = ""  # what the provider does with the requests of in.jsonl
    before: str = ""  # a command to run first
    env: tuple[tuple[str, str | None], ...] = ()


RUN = "run in.jsonl -p faulty -o out.jsonl"
CAUSES = [
    Cause(0, RUN, "1 of 1 succeeded"),
    Cause(1, "run in.jsonl -p dead -o out.jsonl", "cannot be reached"),
    Cause(1, "run in.jsonl -p faulty -o mine.jsonl", "already exists"),
    Cause(1, "results", "is still", fault=f"steps={RUNS_ON}", before="submit in.jsonl -p faulty"),
    Cause(2, "run in.jsonl -p faulty --retries x", "whole number"),
    Cause(2, "ls --status nonsense", "not known"),
    Cause(2, "ls", "not valid TOML", env=(("OBATCH_CONFIG", "broken.toml"),)),
    Cause(3, "run bad.jsonl -p faulty", "1 problem"),
    Cause(3, f"{RUN} --max-cost 1", "can cost more"),
    Cause(4, RUN, "TEST_KEY is not set", env=(("TEST_KEY", None),)),
    Cause(4, RUN, "said 401", fault="upload=401"),
    Cause(5, RUN, "1 failed", fault="rows=allerrors"),
    Cause(5, "status --exit-code", "failed", fault="rows=allerrors", before=RUN),
    Cause(6, "status 99", "no job '99'"),
    Cause(6, "run in.jsonl -p nobody", "No provider found"),
    Cause(7, "submit in.jsonl -p hasty", "unknown whether", fault="create=later;list=hide*99"),
    Cause(124, "wait --timeout 1s", "still", fault=f"steps={RUNS_ON}", before="submit in.jsonl -p faulty"),
]


@pytest.fixture(autouse=True)
def files(faulty: FaultServer) -> None:
    """Write a good input, a bad one and a file of the user, and configure a provider that soon times out."""
    configure("hasty", faulty.base_url, create_timeout=1, create_grace=0.5)
    configure("dead", "http://127.0.0.1:9/v1")
    write("bad.jsonl", [request("a"), request("a")])
    Path("mine.jsonl").write_text("mine\n", encoding="utf-8")
    Path("broken.toml").write_text("provider = \n", encoding="utf-8")


def run_before(cause: Cause) -> dict[str, str | None]:
    """Write the input, run the command in `before`, and return the environment."""
    write("in.jsonl", [request("a", f"fault:{cause.fault}" if cause.fault else "echo-1")])
    if cause.before:
        invoke(*cause.before.split())
    return dict(cause.env)


@pytest.mark.slow
@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: f"{cause.code}-{cause.words}")
def test_each_code_in_a_pipe(cause: Cause) -> None:
    """The exit code is the documented one, and the error names the cause."""
    env = run_before(cause)
    result = invoke(*cause.words.split(), env=env)
    assert (result.code, cause.says in result.err) == (cause.code, True), result
    assert result.err.count("error:") == (cause.code != 0)


@pytest.mark.slow
@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: f"{cause.code}-{cause.words}")
def test_each_code_in_a_terminal(cause: Cause) -> None:
    """A terminal gets the same exit codes and messages."""
    env = run_before(cause)
    result = see(*cause.words.split(), env=env)
    shown = " ".join(plain(result.out).split())
    assert (result.code, cause.says in shown) == (cause.code, True), shown


@pytest.mark.slow
@pytest.mark.skipif(len(STOPS) < 2, reason="no process can send these signals on Windows")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_each_code_of_an_interruption(number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM end `wait`, and the job keeps running."""
    write("in.jsonl", [request("a", f"fault:steps={RUNS_ON}")])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    terminal = Terminal("wait")
    terminal.child.expect("job 1 in progress")
    terminal.child.kill(number)
    result = terminal.finish()
    assert result.code == code
    assert "it keeps running" in plain(result.out)


def test_every_documented_code_is_tried() -> None:
    """CAUSES has every exit code of the help, except those of signals."""
    listed = {int(word) for word in EPILOG.replace(",", " ").split() if word.isdigit()}
    assert {cause.code for cause in CAUSES} == listed - {130, 143}
    assert {getattr(errors, name).exit_code for name in errors.__all__} <= listed
