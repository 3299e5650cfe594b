"""What goes to standard output and standard error, in pipes and terminals, with color and without."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import COMMAND, inside, invoke, plain, request, see, write

if TYPE_CHECKING:
    from support.faults import FaultServer
    from support.servers import LocalServer

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m|\x1b\[[0-9;]*m")
# An OSC that sets the window title, a C1 control, a change of the writing direction, and Rich markup.
HOSTILE = "\x1b]0owned\x07\x9b31m\u202e[red]x[/x]"
SHOWN = r"\x1b]0owned\x07\x9b31m\u202e[red]x[/x]"


def harmless(shown: str) -> None:
    """Assert that no control character is shown unescaped."""
    for raw in ("\x1b]0", "\x07", "\x9b", "\u202e"):
        assert raw not in shown, shown


@pytest.mark.slow
def test_listings_in_a_pipe_are_lossless(faulty: FaultServer) -> None:
    """In a pipe nothing is shortened, whatever the width: each job is one row with complete values."""
    write("in.jsonl", [request("a", "echo-with-a-very-long-name-indeed-" * 3)])
    (batch_id,) = invoke("submit", "in.jsonl", "-p", "faulty", "--json").succeeded().json["batch_ids"]
    wide = invoke("ls").succeeded().out
    assert invoke("ls", env={"COLUMNS": "20", "FORCE_COLOR": "1"}).succeeded().out == wide
    (row,) = invoke("ls").rows
    assert row[-1] == batch_id
    assert datetime.fromisoformat(row[7]).utcoffset() == timedelta(0)
    assert invoke("status", env={"COLUMNS": "20"}).succeeded().fields["batch"] == batch_id
    assert faulty.batches


@pytest.mark.slow
def test_json_is_one_document_of_known_keys(faulty: FaultServer) -> None:
    """--json prints one document with fixed keys, or [] for an empty list."""
    assert invoke("ls", "--json").succeeded().json == []
    write("in.jsonl", [request("a")])
    record = invoke("submit", "in.jsonl", "-p", "faulty", "--json").succeeded().json
    assert list(record) == [
        *("id", "name", "provider", "base_url", "status", "reason", "ended", "endpoint", "model", "window", "requests"),
        *(
            "reused",
            "answered",
            "parts",
            "batch_ids",
            "created_at",
            "expires_at",
            "ended_at",
            "phases",
            "files_expire_at",
            "deadline_at",
            "seconds",
            "input",
            "input_sha256",
            "output",
        ),
        "usage",
        "cost",
        "max_cost_usd",
        "errors",
        "metadata",
    ]
    assert record["requests"] == {"total": 1, "completed": 0, "failed": 0}
    for words in (["wait"], ["status"], ["download"]):
        assert list(invoke(*words, "--json").succeeded().json)[: len(record)] == list(record)
    for words in (["ls"], ["cancel", "1"]):
        assert [list(job) for job in invoke(*words, "--json").succeeded().json] == [list(record)]
    assert faulty.batches


@pytest.mark.slow
def test_messages_go_to_standard_error(faulty: FaultServer) -> None:
    """Progress and messages go to standard error, without a progress bar or escape codes in a pipe."""
    write("in.jsonl", [request("a", "fault:steps=in_progress,in_progress")])
    result = invoke("run", "in.jsonl", "-p", "faulty", "-o", "-").succeeded()
    assert [json.loads(line)["custom_id"] for line in result.out.splitlines()] == ["a"]
    assert "job 1: in progress" in result.err
    assert "\r" not in result.err
    assert "\x1b" not in result.err
    assert faulty.batches


@pytest.mark.slow
def test_a_log_has_each_change_and_a_heartbeat(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe, each change is logged once, and again at intervals while nothing changes."""
    write("in.jsonl", [request("a", "fault:steps=in_progress,in_progress,in_progress,in_progress")])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    assert inside("wait").succeeded().err.count("job 1: in progress") == 1
    monkeypatch.setattr("openai_batch.cli.progress.HEARTBEAT", 0.0)
    inside("submit", "in.jsonl", "-p", "faulty", "--again").succeeded()
    assert inside("wait", "2").succeeded().err.count("job 2: in progress") > 1
    assert len(faulty.batches) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colour_in_a_terminal(faulty: FaultServer, env: dict[str, str], coloured: bool) -> None:
    """NO_COLOR takes precedence over FORCE_COLOR, empty values count as unset, and TERM=dumb gets no escape codes."""
    write("in.jsonl", [request("a", "fault:end=failed")])
    shown = see("run", "in.jsonl", "-p", "faulty", env=env).out
    assert bool(re.search(r"\x1b\[[0-9;]*31m", shown)) is coloured, shown
    listing = see("ls", env=env).succeeded().out
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-7]m", listing)) is coloured, listing
    if env.get("TERM") == "dumb":
        assert "\x1b" not in shown + listing
    assert "failed" in listing
    assert faulty.batches


@pytest.mark.slow
def test_colour_in_a_pipe() -> None:
    """In a pipe, standard error has color only with FORCE_COLOR."""
    assert "\x1b" not in invoke("status").err
    assert invoke("status", env={"FORCE_COLOR": "1"}).err.startswith("\x1b[1;31merror:\x1b[0m ")
    assert "\x1b" not in invoke("status", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).err


@pytest.mark.slow
def test_a_terminal_encoding_without_a_character_is_not_an_error(faulty: FaultServer) -> None:
    """Characters that the terminal's encoding does not have are escaped."""
    write("in.jsonl", [request("a", "modèle")])
    env = {"PYTHONIOENCODING": "ascii"}
    invoke("run", "in.jsonl", "-p", "faulty", env=env).succeeded()
    assert "mod\\xe8le" in invoke("ls", env=env).succeeded().out
    assert "mod\\xe8le" in see("ls", env=env).succeeded().out
    assert "mod\\xe8le" in see("status", env=env).succeeded().out
    assert "a" in plain(see("download", "-o", "-", env=env).succeeded().out)
    see("--help", env=env).succeeded()
    assert faulty.batches


@pytest.mark.slow
def test_hostile_text_of_a_server_is_escaped(faulty: FaultServer) -> None:
    """Control characters and markup in names, models and statuses are escaped."""
    write("in.jsonl", [request("a", f"fault:steps={HOSTILE},{HOSTILE},{HOSTILE}")])
    submitted = invoke("submit", "in.jsonl", "-p", "faulty", "--name", HOSTILE)
    results = [submitted, invoke("status", "--offline"), invoke("ls"), invoke("status")]
    results += [see("ls", columns=400), see("status", "--offline"), see("wait", "--timeout", "0")]
    for result in results:
        harmless(result.out + result.err)
    assert SHOWN in results[2].out
    assert SHOWN in results[4].out
    assert faulty.batches


@pytest.mark.slow
def test_hostile_answers_are_escaped(real: LocalServer) -> None:
    """Control characters and markup in answers and ids are shown as text in a table."""
    assert real.token
    write(
        "in.jsonl",
        [request("[red]a[/x]", text=HOSTILE)],
    )
    shown = see("run", "in.jsonl", "-p", "real", "-o", "-", columns=200).succeeded().out
    harmless(shown)
    assert f"echo: {SHOWN}" in shown


@pytest.mark.slow
def test_a_message_that_cannot_be_written_is_not_a_failure(faulty: FaultServer) -> None:
    """If standard error cannot be written, the command still succeeds."""
    write("in.jsonl", [request("a")])
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "run", "in.jsonl", "-p", "faulty", "-o", "-"], stdout=-1, stderr=full, check=True
        )
    assert json.loads(done.stdout)["custom_id"] == "a"
    assert faulty.batches


@pytest.mark.slow
def test_a_full_standard_output_is_reported(faulty: FaultServer) -> None:
    """If standard output is full, the command fails without a traceback, and the results can be downloaded again."""
    write("in.jsonl", [request("a")])
    with Path("/dev/full").open("wb") as full:
        command = [*COMMAND, "run", "in.jsonl", "-p", "faulty", "-o", "-"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    invoke("download", "-o", "-").succeeded()
    assert len(faulty.batches) == 1
