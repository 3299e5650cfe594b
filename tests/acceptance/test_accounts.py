"""Two accounts on one host: jobs and connections belong to an account, not to a base URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import invoke, request, write

if TYPE_CHECKING:
    from support.faults import FaultServer

KEYS = {"KEY_A": "sk-team-a-0123456789abcdef", "KEY_B": "sk-team-b-0123456789abcdef"}


def configure(server: FaultServer, **variables: str) -> None:
    """Write a profile for each team; both are at the same URL."""
    tables = [
        f'[providers.team-{team}]\nbase_url = "{server.base_url}"\napi_key_env = "{variable}"\n'
        for team, variable in variables.items()
    ]
    Path(os.environ["OBATCH_CONFIG"]).write_text("\n".join(tables), encoding="utf-8")


@pytest.fixture
def server(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """Return a server on which each key is an account."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    faulty.by_key = True
    configure(faulty, a="KEY_A", b="KEY_B")
    return faulty


def test_each_account_has_its_own_job_and_key(server: FaultServer) -> None:
    """The same input for two accounts is two jobs, and one command over both sends each its own key."""
    write("in.jsonl", [request("a", "fault:steps=in_progress,in_progress")])
    for team in "ab":
        invoke("submit", "in.jsonl", "-p", f"team-{team}").succeeded()
    assert [batch.key for batch in server.batches.values()] == [f"Bearer {key}" for key in KEYS.values()]
    invoke("wait", "1", "2").succeeded()
    invoke("run", "in.jsonl", "-p", "team-b", "-o", "b.jsonl").succeeded()
    write("more.jsonl", [request("b", "fault:steps=" + ",".join(["in_progress"] * 99))])
    for team in "ab":
        invoke("submit", "more.jsonl", "-p", f"team-{team}").succeeded()
    invoke("cancel", "3", "4", "--yes").succeeded()
    assert [batch.cancelled for batch in server.batches.values()] == [False, False, True, True]
    assert server.trespasses == []


def test_a_key_that_moved_is_the_same_account(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another variable for the same key, nothing is paid twice, and old jobs go on once that is known."""
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "team-a").succeeded()
    monkeypatch.setenv("NEW_KEY_A", KEYS["KEY_A"])
    configure(server, a="NEW_KEY_A", b="KEY_B")
    invoke("wait", "1").failed(6, "another key source", "obatch recover -p team-a")
    assert server.trespasses == []
    invoke("run", "in.jsonl", "-p", "team-a", "-o", "out.jsonl").succeeded()
    assert len(server.batches) == 1
    invoke("wait", "1").succeeded()


@pytest.mark.slow
def test_a_key_that_was_changed_is_the_same_account(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key in the same variable goes on with the jobs of the old one."""
    server.by_key = False
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "team-a").succeeded()
    monkeypatch.setenv("KEY_A", "sk-team-a-renewed-0123456789")
    invoke("run", "in.jsonl", "-p", "team-a", "-o", "out.jsonl").succeeded()
    assert len(server.batches) == 1


@pytest.mark.slow
def test_one_account_with_two_profiles_pays_once(server: FaultServer) -> None:
    """Two profiles of one account share its jobs as soon as its list shows that."""
    server.by_key = False
    write("in.jsonl", [request("a")])
    for team in "aba":
        invoke("run", "in.jsonl", "-p", f"team-{team}", "-o", f"{team}.jsonl", "--force").succeeded()
    assert len(server.batches) == 1
