"""Two accounts on one host: jobs and connections belong to an account, not to a base URL."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import invoke, request, write
from support.faults import fault_server

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


@pytest.mark.slow
def test_each_account_has_its_own_job_and_key(server: FaultServer) -> None:
    """The same input for two accounts is two jobs, and a command for both uses the key of each account."""
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
    assert server.other_key_requests == []


@pytest.mark.slow
def test_a_key_that_moved_is_the_same_account(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a key moves to another variable, nothing is paid twice, and old jobs continue once the account is known."""
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "team-a").succeeded()
    monkeypatch.setenv("NEW_KEY_A", KEYS["KEY_A"])
    configure(server, a="NEW_KEY_A", b="KEY_B")
    invoke("wait", "1").failed(6, "another key source", "obatch recover -p team-a")
    assert server.other_key_requests == []
    invoke("run", "in.jsonl", "-p", "team-a", "-o", "out.jsonl").succeeded()
    assert len(server.batches) == 1
    invoke("wait", "1").succeeded()


@pytest.mark.slow
def test_recover_continues_after_an_account_that_fails(server: FaultServer) -> None:
    """If one account cannot be listed, `recover` warns and finds the jobs of the others."""
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "team-b").succeeded()
    shutil.rmtree(os.environ["OBATCH_STATE_DIR"])
    with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as handle:
        handle.write(f'[providers.another]\nbase_url = "{server.base_url}/moved"\napi_key_env = "KEY_A"\n')
    found = invoke("recover").succeeded()
    assert "warning: another: could not list the batches" in found.err
    assert [row[2] for row in found.rows] == ["team-b"]
    invoke("recover", "-p", "another").failed(6, "could not list the batches", "base URL")


@pytest.mark.slow
def test_a_key_that_was_changed_is_the_same_account(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a key is replaced in the same variable, the same command continues the job."""
    server.by_key = False
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "team-a").succeeded()
    monkeypatch.setenv("KEY_A", "sk-team-a-renewed-0123456789")
    invoke("run", "in.jsonl", "-p", "team-a", "-o", "out.jsonl").succeeded()
    assert len(server.batches) == 1


@pytest.mark.slow
def test_one_account_with_two_profiles_pays_once(server: FaultServer) -> None:
    """Two profiles of one account share its jobs."""
    server.by_key = False
    write("in.jsonl", [request("a")])
    for team in "aba":
        invoke("run", "in.jsonl", "-p", f"team-{team}", "-o", f"{team}.jsonl", "--force").succeeded()
    assert len(server.batches) == 1


@pytest.mark.slow
def test_two_hosts_may_give_the_same_id(server: FaultServer) -> None:
    """Batches with the same id at two providers are not confused."""
    write("in.jsonl", [request("a")])
    with fault_server() as other:
        table = f'[providers.other]\nbase_url = "{other.base_url}"\napi_key_env = "KEY_B"\n'
        with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as handle:
            handle.write(table)
        for _ in range(2):
            for name in ("team-a", "other"):
                invoke("run", "in.jsonl", "-p", name, "-o", f"{name}.jsonl", "--force").succeeded()
            shutil.rmtree(os.environ["OBATCH_STATE_DIR"])
        assert list(server.batches) == list(other.batches)
        assert len(server.batches) == 1


@pytest.mark.slow
def test_an_account_that_a_header_selects(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key or a project in a header of the profile is sent, and is part of the account."""
    for name in ("one", "two"):
        monkeypatch.setenv(f"VALUE_OF_{name}", f"{name}-0123456789")
    for number, header in enumerate(("X-Api-Key", "OpenAI-Project")):
        tables = [
            f'[providers.{name}]\nbase_url = "{server.base_url}"\nheaders = {{ "{header}" = "env:VALUE_OF_{name}" }}\n'
            for name in ("one", "two")
        ]
        Path(os.environ["OBATCH_CONFIG"]).write_text("\n".join(tables), encoding="utf-8")
        write("in.jsonl", [request(f"a{number}")])
        for name in ("one", "two"):
            invoke("submit", "in.jsonl", "-p", name, "--again").succeeded()
        invoke("wait", str(2 * number + 1), str(2 * number + 2)).succeeded()
        for batch, name in zip(list(server.batches)[-2:], ("one", "two"), strict=True):
            asked = server.seen("GET", f"/batches/{batch}")
            assert {each.headers[header.lower()] for each in asked} == {f"{name}-0123456789"}


@pytest.mark.slow
def test_a_lost_create_is_found_with_a_key_that_moved(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch of an interrupted job is adopted by the account that lists it, and nothing is sent again."""
    write("in.jsonl", [request("a", "fault:create=made.reset;list=hide")])
    with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as handle:
        handle.write(
            f'[providers.c]\nbase_url = "{server.base_url}"\napi_key_env = "KEY_A"\n'
            "create_timeout = 1\ncreate_grace = 0.5\n"
        )
    invoke("submit", "in.jsonl", "-p", "c").failed(7, "unknown whether")
    for batch in server.batches.values():
        batch.key = f"Bearer {KEYS['KEY_A']}"
    server.settle()
    monkeypatch.setenv("NEW_KEY_A", KEYS["KEY_A"])
    configure(server, c="NEW_KEY_A")
    invoke("run", "in.jsonl", "-p", "team-c", "-o", "out.jsonl").succeeded()
    assert len(server.batches) == 1
