"""Signals: a command stops at once, says what continues, and the job keeps running."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import COMMAND, PATIENCE, STOPS, Terminal, environment, invoke, request, write
from support.sample_tables import needs_duckdb
from support.servers import wait_until

if TYPE_CHECKING:
    from support.faults import FaultServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no process can send these signals on Windows"),
]


RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 300)
SIGNALS = [(number, 128 + number) for number in STOPS]


def start(*words: str) -> subprocess.Popen[str]:
    """Start a command whose output is read at its end."""
    return subprocess.Popen(
        [*COMMAND, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def stop(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send a signal, and return what the process wrote to standard error."""
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert out == ""
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_waiting_ends_and_the_job_continues(faulty: FaultServer, number: signal.Signals, code: int) -> None:
    """A signal during `wait` exits with 128 plus its number, and the job is not cancelled."""
    write("in.jsonl", [request("a", RUNS_ON)])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    process = start("wait")
    wait_until(lambda: faulty.seen("GET", "/batches/.*"), "a look at the batch")
    told = stop(process, number)
    assert process.returncode == code
    assert told.endswith("error: interrupted; job 1 was not cancelled: it keeps running\nhint: obatch wait 1\n")
    assert not faulty.seen("POST", "/batches/.*/cancel")
    assert invoke("status", "-q").succeeded().out == "in_progress\n"


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) AS text FROM c"


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("duckdb", marks=needs_duckdb)])
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_an_endless_query_is_interrupted(kind: str, number: signal.Signals, code: int) -> None:
    """A signal interrupts a query that does not end, of a view in a database or over files."""
    words = ["--sql", "SELECT count(*) AS text FROM range(100000000000) a, range(1000000)"]
    if kind == "sqlite":
        with closing(sqlite3.connect("t.db")) as base:
            base.execute(f"CREATE VIEW v AS {ENDLESS}")
        words = ["t.db"]
    process = start("prepare", *words, "-m", "m", "-o", "out.jsonl")
    time.sleep(4)
    assert process.poll() is None
    assert "bug" not in stop(process, number)
    assert process.returncode == code
    assert not Path("out.jsonl").exists()


def test_a_pause_between_polls_is_interrupted(faulty: FaultServer) -> None:
    """A signal ends a command that sleeps before its next request."""
    write("in.jsonl", [request("a", "fault:poll=429:600*9")])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    process = start("wait", "1")
    assert process.stderr is not None
    assert "trying again in" in process.stderr.readline()
    asked = len(faulty.requests)
    stop(process, signal.SIGINT)
    assert process.returncode == 130
    assert len(faulty.requests) == asked


@pytest.mark.parametrize("stage", ["upload", "create"])
def test_an_interrupted_submit_is_continued(faulty: FaultServer, stage: str) -> None:
    """After Ctrl-C during an upload or a create, the same command continues, and there is one batch."""
    write("in.jsonl", [request("a", f"fault:{stage}=made.hang")])
    process = start("submit", "in.jsonl", "-p", "faulty")
    sent = {"upload": lambda: faulty.uploads, "create": lambda: faulty.creates}[stage]
    wait_until(sent, f"the {stage}")
    time.sleep(0.2)
    told = stop(process, signal.SIGINT)
    assert process.returncode == 130, told
    assert "error: interrupted" in told
    assert "hint: " in told
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    assert len(faulty.batches) == 1


def test_interrupted_before_anything_was_done() -> None:
    """Ctrl-C while the command reads prompts exits with code 130."""
    terminal = Terminal("prepare", "-m", "gpt-4o-mini")
    terminal.child.expect("Ctrl-D ends them")
    terminal.child.sendintr()
    assert terminal.finish().code == 130


def test_control_c_at_a_terminal(faulty: FaultServer) -> None:
    """After Ctrl-C in a terminal, the cursor is restored, and the hint says how to continue."""
    write("in.jsonl", [request("a", RUNS_ON)])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    terminal = Terminal("wait")
    terminal.child.expect("job 1 in progress")
    terminal.child.sendintr()
    result = terminal.finish()
    assert result.code == 130
    assert "obatch wait 1" in result.out
    assert "\x1b[?25h" in result.out, "the cursor was hidden and does not come back"
    assert not faulty.seen("POST", "/batches/.*/cancel")


SLOW_END = """
import time
from openai_batch.jobs.workflow import Workflow
Workflow.close = lambda _: (print("closing", flush=True), time.sleep(PATIENCE))
"""
"""A program that makes every command end slowly."""


def test_a_second_control_c_ends_at_once(faulty: FaultServer) -> None:
    """A second Ctrl-C ends a command that is still cleaning up."""
    write("in.jsonl", [request("a", RUNS_ON)])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    terminal = Terminal("wait", first=f"PATIENCE = {PATIENCE}\n{SLOW_END}")
    terminal.child.expect("job 1 in progress")
    terminal.child.sendintr()
    terminal.child.expect("closing")
    begun = time.monotonic()
    terminal.child.sendintr()
    assert terminal.finish().code == -signal.SIGINT
    assert time.monotonic() - begun < PATIENCE / 2
    assert not faulty.seen("POST", "/batches/.*/cancel")


def test_cancel_can_be_declined(faulty: FaultServer) -> None:
    """In a terminal `cancel` asks for confirmation, and sends nothing if the answer is no."""
    write("in.jsonl", [request("a", RUNS_ON)])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    terminal = Terminal("cancel")
    terminal.child.expect("Cancel 1 job: 1")
    terminal.child.sendline("n")
    assert terminal.finish().code == 1
    assert not faulty.seen("POST", "/batches/.*/cancel")


def test_output_cut_short_is_silent(faulty: FaultServer) -> None:
    """If the reader closes the pipe, such as `head -1`, the command ends without an error message."""
    write("in.jsonl", [request(f"r{n}", text="x" * 500) for n in range(2000)])
    invoke("run", "in.jsonl", "-p", "faulty", "-q").succeeded()
    for words in ("download -o - -q --force", "ls", "--help", "providers", "__complete providers ''"):
        line = f'"{sys.executable}" -m openai_batch {words} | head -c 1'
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(), check=True)
        assert (len(done.stdout), done.stderr) == (1, ""), words
    assert faulty.batches
