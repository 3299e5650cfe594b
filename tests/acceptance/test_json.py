"""--json prints one document, on every command that reports something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from support.command import inside, request, write

from openai_batch.cli.completion_scripts import read_commands

if TYPE_CHECKING:
    from support.faults import FaultServer

RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 40)
SILENT = {"help", "serve", "", "config"}
"""What reports nothing: a server, and the groups that only show their help."""

CALLS = {
    "run": ("run p.txt -p faulty -m m -o out.jsonl", "run p.txt -p faulty -m n -n", "run p.txt -p faulty -m o -o -"),
    "prepare": ("prepare p.txt -p faulty -m m -o r.jsonl", "prepare p.txt -m gpt-4", "prepare p.txt -m gpt-4 --show 1"),
    "check": ("check in.jsonl -p faulty", "check in.jsonl long.jsonl -p faulty"),
    "cost": ("cost", "cost in.jsonl -p faulty", "cost p.txt -p faulty -m m"),
    "submit": ("submit in.jsonl -p faulty --dry-run", "submit in.jsonl -p faulty"),
    "status": ("status 1", "status 1 --offline"),
    "wait": ("wait 1", "wait 1 2"),
    "download": ("download 1 -o d.jsonl", "download 1 -o -", "download 1 --raw files"),
    "results": ("results 1", "results 1 -o r.csv"),
    "report": ("report 1", "report 1 --html r.html"),
    "stats": ("stats in.jsonl", "stats out.jsonl"),
    "retry": ("retry 1 --dry-run", "retry 1"),
    "cancel": ("cancel 3 --dry-run", "cancel 1 --dry-run", "cancel 3"),
    "recover": ("recover -p faulty",),
    "rm": ("rm 1 --dry-run", "rm 1"),
    "prune": ("prune --dry-run", "prune"),
    "ls": ("ls", "ls -p nobody"),
    "providers": ("providers",),
    "providers add": ("providers add acme --base-url https://acme.example/v1",),
    "config path": ("config path",),
    "config show": ("config show",),
}


def test_every_command_prints_one_document(faulty: FaultServer) -> None:
    """Each command of the program has --json, dry runs included, and standard output is then one JSON document."""
    commands = {command.name: command for command in read_commands()}
    having = {name for name, command in commands.items() if any("--json" in option.names for option in command.options)}
    assert having == set(CALLS) == set(commands) - SILENT
    Path("p.txt").write_text("hi\nho\n", encoding="utf-8")
    write("in.jsonl", [request("a"), request("b")])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    inside("wait").succeeded()
    inside("submit", str(write("other.jsonl", [request("c")])), "-p", "faulty").succeeded()
    inside("submit", str(write("long.jsonl", [request("d", RUNS_ON)])), "-p", "faulty").succeeded()
    for calls in CALLS.values():
        for call in calls:
            done = inside(*call.split(), "--json").succeeded()
            assert isinstance(json.loads(done.out), dict | list), call
            assert done.out.endswith("\n"), call
    assert faulty.batches


def test_results_are_one_array(faulty: FaultServer) -> None:
    """`results --json` is an array of the rows, also of none; a form that is not JSON is refused beside it."""
    write("in.jsonl", [request("a"), request("b")])
    inside("run", "in.jsonl", "-p", "faulty").succeeded()
    assert [row["custom_id"] for row in inside("results", "--json").succeeded().json] == ["a", "b"]
    assert [row["custom_id"] for row in inside("download", "-o", "-", "--json").succeeded().json] == ["a", "b"]
    inside("results", "--json", "--as", "csv").failed(2, "--as csv and --json exclude each other", "leave out one")
    inside("submit", str(write("bad.jsonl", [request("c", "fault:end=failed")])), "-p", "faulty").succeeded()
    inside("wait")
    assert inside("download", "-o", "-", "--json").json == []
    assert len(faulty.batches) == 2
