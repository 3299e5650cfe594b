"""--dry-run on `prepare`, `download` and `recover`: it shows what would happen, and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import configure
from support.command import inside, invoke, plain, request, see, write

if TYPE_CHECKING:
    from support.faults import FaultServer


def test_prepare_writes_nothing() -> None:
    """`prepare --dry-run` counts the requests and reports problems, but writes no file."""
    Path("prompts.txt").write_text("one\ntwo\n", encoding="utf-8")
    words = ["prepare", "prompts.txt", "-m", "m", "--dry-run"]
    result = invoke(*words, "-o", "out.jsonl").succeeded()
    assert result.err == "would write 2 requests to out.jsonl, model m; nothing was written\n"
    assert result.out == ""
    assert "to standard output, model m" in plain(see(*words, columns=80).succeeded().out)
    assert inside(*words, "--json").succeeded().json == {
        "dry_run": True,
        "output": "-",
        "requests": 2,
        "model": "m",
        "endpoint": "/v1/chat/completions",
    }
    inside(*words, "--prompt", "{{ nothing }}").failed(3, "nothing")
    Path("out.jsonl").touch()
    inside(*words, "-o", "out.jsonl").failed(1, "already exists", "--force")
    assert sorted(path.name for path in Path().iterdir()) == ["out.jsonl", "prompts.txt"]


def test_a_part_that_is_larger_than_the_queue_counts_as_several(faulty: FaultServer) -> None:
    """The number of batches is the one of a run, before it and while some parts wait; each model is named."""
    configure("limited", faulty.base_url, enqueued_tokens=40, one_model=False)
    write("in.jsonl", [request(name, f"model-{name}") for name in "abcd"])
    words = ["submit", "in.jsonl", "-p", "limited"]
    told = inside(*words, "--dry-run").succeeded()
    assert "create 4 batches of 4 requests for /v1/chat/completions" in told.err
    assert "with models model-a, model-b, model-c, …; nothing was sent" in told.err
    assert inside(*words, "--dry-run", "--json").succeeded().json["batches"] == 4
    inside(*words).succeeded()
    assert len(faulty.batches) == 1
    assert inside(*words, "--dry-run", "--json").succeeded().json["batches"] == 3


def test_download_asks_no_provider(faulty: FaultServer) -> None:
    """`download --dry-run` sends no request, and reports a file that already exists."""
    write("in.jsonl", [request("a"), request("b")])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    assert "nothing can be written before it ends" in inside("download", "-n").succeeded().err
    inside("wait").succeeded()
    before = len(faulty.requests)
    result = inside("download", "1", "-o", "out.jsonl", "--dry-run").succeeded()
    assert result.err == "would write 2 results of job 1 to out.jsonl; nothing was written\n"
    assert "of job 1 to" in plain(see("download", "1", "-n", columns=80).succeeded().out)
    assert inside("download", "1", "-o", "-", "-n", "--json").succeeded().json["output"] == "-"
    inside("download", "1", "-o", "in.jsonl", "-n").failed(2, "in.jsonl is an input")
    Path("mine.jsonl").write_text("mine\n", encoding="utf-8")
    inside("download", "1", "-o", "mine.jsonl", "-n").failed(1, "already exists", "--force")
    inside("download", "9", "-n").failed(6, "no job '9'")
    inside("download", "1", "--raw", "raw", "-n").failed(2, "--raw")
    assert len(faulty.requests) == before
    assert sorted(path.name for path in Path().iterdir()) == ["in.jsonl", "mine.jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["", "shape=barelist"])
def test_recover_adds_nothing(faulty: FaultServer, shape: str) -> None:
    """`recover --dry-run` lists the batches that would be added, but does not add them."""
    write("in.jsonl", [request("a", f"fault:{shape or 'end=completed'}")])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    env = {"OBATCH_STATE_DIR": os.environ["OBATCH_STATE_DIR"] + "-other"}
    (batch_id,) = faulty.batches
    result = inside("recover", "-p", "faulty", "--dry-run", env=env).succeeded()
    assert result.rows == [[batch_id, "faulty"]]
    assert result.err.endswith("would add 1 batch; nothing was changed\n")
    assert batch_id in plain(see("recover", "-p", "faulty", "-n", env=env, columns=80).succeeded().out)
    assert inside("ls", env=env).succeeded().out == ""
    assert inside("recover", "-p", "faulty", "-n", "--json", env=env).json == [
        {"batch": batch_id, "provider": "faulty"}
    ]
    assert len(inside("recover", "-p", "faulty", env=env).succeeded().rows) == 1
    assert inside("recover", "-p", "faulty", "-n", "-q", env=env).succeeded().out == ""
    assert {r.method for r in faulty.requests if r.path == "/v1/batches"} == {"GET", "POST"}
