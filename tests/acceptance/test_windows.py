"""The command and the library as on Windows, which is simulated (`support/windows/sitecustomize.py`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import ids, request, write
from support.systems import on_windows

if TYPE_CHECKING:
    from support.faults import FaultServer

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the simulation reads /proc")

RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 40)
COMMANDS = """
import sys
from support.command import inside
for line in sys.argv[1:]:
    done = inside(*line.split(" "))
    assert done.code == 0, (line, done)
    assert "Permission denied" not in done.err, (line, done)
"""


def test_a_job_from_prompts_to_answers(faulty: FaultServer) -> None:
    """Every command of a job's life does its work, and leaves neither work folders nor hidden files."""
    Path("prompts.csv").write_text("text\n日本\n🎉\n", encoding="utf-8")
    write("more.jsonl", [request("x"), request("y")])
    write("long.jsonl", [request("z", RUNS_ON)])
    write("bad.jsonl", [request("a", "fault:fail=a"), request("b", "fault:fail=a")])
    on_windows(
        COMMANDS,
        "prepare prompts.csv --prompt Say:{{text}} -m echo-1 -o in.jsonl",
        "check in.jsonl -p faulty",
        "submit in.jsonl -p faulty --name first",
        "status first",
        "wait first",
        "download first -o out.jsonl",
        "download first -o out.jsonl",
        "download first -o out.csv",
        "results first",
        "ls",
        "run more.jsonl -p faulty -o more.out.jsonl",
        "submit long.jsonl -p faulty --name long",
        "cancel long",
        "recover -p faulty",
        "rm long --force",
        "prune",
    )
    assert len(ids("out.jsonl")) == 2
    assert ids("more.out.jsonl") == ["x", "y"]
    assert len(faulty.batches) == 3
    state = Path.home() / "state"
    assert not [path for path in (state / "spool").iterdir() if path.name != "results"]
    assert len(list((state / "jobs").iterdir())) == 2
    assert not list(Path().glob(".*"))
