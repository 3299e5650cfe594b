"""--json prints one document, in every command that reports something."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import json_documents
import jsonschema_rs
import pytest
from support.command import inside, request, write

from openai_batch.cli.completion_scripts import read_commands

if TYPE_CHECKING:
    from support.faults import FaultServer

PRICES = """
[providers.faulty.prices.echo-1]
input = 1.0
output = 4.0
"""
RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 40)
SILENT = {"help", "serve", "worker", "", "config", "config edit"}
"""Commands without --json: a server, a worker, an editor, and groups that only show their help."""

CALLS = {
    "run": {
        "run p.txt -p faulty -m m -o out.jsonl": "run -o FILE",
        "run p.txt -p faulty -m n -n": "run --dry-run",
        "run p.txt -p faulty -m o -o -": "run -o -",
    },
    "prepare": {
        "prepare p.txt -p faulty -m m -o r.jsonl --dry-run": "prepare -o FILE",
        "prepare p.txt -p faulty -m m -o r.jsonl": "prepare -o FILE",
        "prepare p.txt -m gpt-4": "prepare",
        "prepare p.txt -m gpt-4 --show 1": "prepare",
    },
    "cost": {"cost in.jsonl -p faulty": "cost FILE", "cost p.txt -p faulty -m free": "cost FILE", "cost": "cost"},
    "stats": {"stats in.jsonl": "stats REQUESTS", "stats out.jsonl": "stats RESULTS"},
    "check": {"check in.jsonl -p faulty": "check FILE", "check in.jsonl long.jsonl -p faulty": "check FILE FILE"},
    "sample": {"sample in.jsonl -p faulty": "sample"},
    "submit": {"submit in.jsonl -p faulty --dry-run": "submit --dry-run", "submit in.jsonl -p faulty": "submit"},
    "status": {"status 1": "status", "status 1 --offline": "status"},
    "wait": {"wait 1": "wait JOB", "wait 1 2": "wait JOB JOB"},
    "download": {
        "download 1 -o d.jsonl --dry-run": "download --dry-run",
        "download 1 -o d.jsonl": "download -o FILE",
        "download 1 -o -": "download -o -",
        "download 1 --raw files": "download --raw FOLDER",
    },
    "results": {"results 1": "results", "results 1 -o r.csv": "results -o FILE"},
    "report": {"report 1": "report", "report 1 --html report.html": "report"},
    "retry": {"retry 1 --dry-run": "retry", "retry 1": "retry"},
    "cancel": {
        "cancel 3 --dry-run": "cancel --dry-run",
        "cancel 1 --dry-run": "cancel --dry-run",
        "cancel 3": "cancel",
    },
    "recover": {"recover -p faulty --dry-run": "recover --dry-run", "recover -p faulty": "recover"},
    "rm": {"rm 1 --dry-run": "rm", "rm 1": "rm"},
    "prune": {
        "prune --dry-run": "prune",
        "prune": "prune",
        "prune --remote --older-than 0s -n": "prune --remote",
    },
    "ls": {"ls": "ls", "ls -p groq": "ls", "ls --remote -p faulty": "ls --remote"},
    "import": {"import out.jsonl --input imported.jsonl": "import"},
    "export": {"export in.jsonl -o exported.jsonl": "export"},
    "providers": {"providers": "providers"},
    "providers add": {"providers add acme --base-url https://acme.example/v1": "providers add"},
    "providers show": {"providers show faulty": "providers show", "providers show local": "providers show"},
    "providers test": {"providers test faulty": "providers test"},
    "providers rm": {"providers rm acme": "providers rm"},
    "doctor": {"doctor": "doctor", "doctor faulty": "doctor", "doctor faulty --create -m m": "doctor"},
    "config path": {"config path": "config path"},
    "config show": {"config show": "config show"},
    "config set": {"config set provider faulty": "config set"},
    "config unset": {"config unset provider": "config unset"},
}
"""Calls of each command, each with its name in docs/json_documents.py."""


def closed(schema: Any) -> Any:
    """Return a schema that allows only the keys that it names."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    known = {"additionalProperties": False} if "properties" in schema else {}
    return {key: closed(value) for key, value in schema.items()} | known


@pytest.mark.slow
def test_every_command_prints_one_document(faulty: FaultServer) -> None:
    """Every command with --json prints documents that match the documented schema, with --dry-run too."""
    commands = {command.name: command for command in read_commands()}
    having = {name for name, command in commands.items() if any("--json" in option.names for option in command.options)}
    assert having == set(CALLS) == set(commands) - SILENT
    Path("p.txt").write_text("hi\nho\n", encoding="utf-8")
    with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as config:
        config.write(PRICES)
    write("in.jsonl", [request("a"), request("b")])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    inside("wait").succeeded()
    write("imported.jsonl", [request("line-1"), request("line-2")])
    inside("submit", str(write("other.jsonl", [request("c")])), "-p", "faulty").succeeded()
    inside("submit", str(write("long.jsonl", [request("d", RUNS_ON)])), "-p", "faulty").succeeded()
    assert {name for calls in CALLS.values() for name in calls.values()} == set(json_documents.COMMANDS)
    known = closed(json_documents.schema()["$defs"])
    for call, name in (pair for calls in CALLS.values() for pair in calls.items()):
        done = inside(*call.split(), "--json")
        # The fault server does not answer single requests; `sample` reports that in its document.
        assert done.code == (5 if name == "sample" else 0), (call, done)
        assert done.out.endswith("\n"), call
        document, _, many = json_documents.COMMANDS[name]
        printed = json.loads(done.out) if many else [json.loads(done.out)]
        assert isinstance(printed, list), call
        for each in printed:
            jsonschema_rs.validate({"$defs": known, "$ref": f"#/$defs/{document}"}, each)
    assert faulty.batches


def test_results_are_one_array(faulty: FaultServer) -> None:
    """`results --json` prints an array, even an empty one, and refuses formats other than JSON."""
    write("in.jsonl", [request("a"), request("b")])
    inside("run", "in.jsonl", "-p", "faulty").succeeded()
    assert [row["custom_id"] for row in inside("results", "--json").succeeded().json] == ["a", "b"]
    assert [row["custom_id"] for row in inside("download", "-o", "-", "--json").succeeded().json] == ["a", "b"]
    inside("results", "--json", "--as", "csv").failed(
        2, "--as csv and --json cannot be used together here", "leave out one"
    )
    inside("submit", str(write("bad.jsonl", [request("c", "fault:end=failed")])), "-p", "faulty").succeeded()
    inside("wait")
    assert inside("download", "-o", "-", "--json").json == []
    assert len(faulty.batches) == 2
