"""Inputs larger than one batch, and retries: one job, and one result in input order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import KEY, configure
from support.command import ids, invoke, request, write

if TYPE_CHECKING:
    from support.faults import FaultServer
    from support.servers import LocalServer

pytestmark = pytest.mark.slow


def test_an_input_is_split_and_its_results_joined(faulty: FaultServer) -> None:
    """25 requests with 10 per file are three batches, and one result in input order."""
    configure("small", faulty.base_url, max_requests=10)
    write("in.jsonl", [request(f"r{n}", "fault:rows=shuffled") for n in range(25)])
    invoke("run", "in.jsonl", "-p", "small", "-o", "out.jsonl").succeeded()
    assert ids("out.jsonl") == [f"r{n}" for n in range(25)]
    assert len(faulty.batches) == 3
    (job,) = json.loads(invoke("ls", "--json").succeeded().out)
    assert len(job["batch_ids"]) == 3
    assert job["requests"] == {"total": 25, "completed": 25, "failed": 0}
    invoke("run", "in.jsonl", "-p", "small", "-o", "out.jsonl").succeeded()
    assert len(faulty.batches) == 3


def test_mixed_models_are_sent_in_separate_batches(faulty: FaultServer) -> None:
    """If a provider takes one model per file, each model gets a batch, and the results are in input order."""
    models = [f"model-{n % 3}" for n in range(10)]
    write("in.jsonl", [request(f"r{n}", model) for n, model in enumerate(models)])
    invoke("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
    assert ids("out.jsonl") == [f"r{n}" for n in range(10)]
    assert len(faulty.batches) == 3


def test_a_changed_part_is_not_sent(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose parts were all sent is not continued with a changed file: that is a new job."""
    configure("small", faulty.base_url, max_requests=2)
    rows = [request(f"r{n}", "m") for n in range(3)] + [request("r3", "m")]
    write("in.jsonl", rows)
    monkeypatch.setenv("TEST_KEY", "")
    invoke("submit", "in.jsonl", "-p", "small").failed(4, "TEST_KEY")
    monkeypatch.setenv("TEST_KEY", KEY)
    number = invoke("submit", "in.jsonl", "-p", "small", "-q").succeeded().out.strip()
    assert len(faulty.batches) == 2
    write("in.jsonl", [*rows[:3], request("other", "m")])
    assert invoke("submit", "in.jsonl", "-p", "small", "-q").succeeded().out.strip() != number


def test_lost_registry_of_many_parts_is_found_again(faulty: FaultServer, home: Path) -> None:
    """After the registry is lost, a job of three parts is recovered with all its results."""
    configure("small", faulty.base_url, max_requests=4)
    write("in.jsonl", [request(f"r{n}", "m") for n in range(10)])
    invoke("run", "in.jsonl", "-p", "small", "-o", "out.jsonl").succeeded()
    (home / "state" / "registry.db").unlink()
    invoke("recover", "-p", "small").succeeded()
    invoke("download", "-o", "again.jsonl").succeeded()
    assert Path("again.jsonl").read_bytes() == Path("out.jsonl").read_bytes()
    assert len(faulty.batches) == 3


def test_the_rest_of_a_job_that_was_found_again_is_sent(faulty: FaultServer, home: Path) -> None:
    """A job whose registry is lost after two of three parts sends only the third."""
    configure("small", faulty.base_url, max_requests=4)
    models = ["m", "m", "fault:create=401"]
    configure("broad", faulty.base_url, max_requests=4, one_model=False, parallel=1)
    write("in.jsonl", [request(f"r{n}", models[n // 4]) for n in range(10)])
    invoke("submit", "in.jsonl", "-p", "broad").failed(4, "401")
    assert len(faulty.batches) == 2
    (home / "state" / "registry.db").unlink()
    (job,) = json.loads(invoke("recover", "-p", "broad", "--json").succeeded().out)
    assert len(job["batch_ids"]) == 2
    invoke("submit", "in.jsonl", "-p", "broad", "-q")
    (job,) = json.loads(invoke("ls", "--json").succeeded().out)
    assert job["requests"]["total"] == 10
    assert len(faulty.batches) == len(job["batch_ids"])


def test_retry_sends_only_what_has_no_success(real: LocalServer) -> None:
    """A request with a temporary error is sent again; one that was refused for good is not."""
    assert real.token
    prompts = ["one", "two !status=500,6", "three !status=400", "four"]
    write("in.jsonl", [request(f"r{n}", "echo-1", text) for n, text in enumerate(prompts)])
    invoke("run", "in.jsonl", "-p", "real", "-o", "out.jsonl").failed(5, "2 of 4 answered", "obatch retry")
    dry = invoke("retry", "--dry-run", "--json").succeeded()
    groups = {group["cause"].split(":")[0]: group for group in json.loads(dry.out)["groups"]}
    assert (groups["500"]["count"], groups["500"]["helps"], groups["500"]["sample"]) == (1, True, "r1")
    assert groups["400"]["helps"] is False
    invoke("retry").succeeded()
    invoke("wait").failed(5, "3 of 4 requests answered")
    invoke("download", "-o", "all.jsonl").failed(5, "3 of 4 answered: 3 succeeded, 1 failed")
    assert ids("all.jsonl") == ["r0", "r1", "r2", "r3"]
    (job,) = json.loads(invoke("ls", "--json").succeeded().out)
    assert len(job["batch_ids"]) == 2
    invoke("retry").failed(5, "1 failed request is not sent again", "--all")


def test_run_retries_by_itself(real: LocalServer) -> None:
    """`run --retries` sends failed requests again until they succeed."""
    assert real.token
    write("in.jsonl", [request("a", "echo-1", "fine"), request("b", "echo-1", "shaky !status=503,6")])
    invoke("run", "in.jsonl", "-p", "real", "-o", "out.jsonl", "--retries", "2").succeeded()
    assert ids("out.jsonl") == ["a", "b"]


def test_expired_requests_are_sent_again(faulty: FaultServer) -> None:
    """The finished requests of an expired batch are kept, and only the others are sent again."""
    write("in.jsonl", [request(f"r{n}", "fault:end=expired;rows=expired") for n in range(6)])
    invoke("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").failed(5, "batch_expired", "obatch retry")
    lines = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    unfinished = sum(line["error"] is not None for line in lines)
    assert 0 < unfinished < 6
    (group,) = json.loads(invoke("retry", "--where", "batch_expired", "--json").succeeded().out)["groups"]
    assert (group["count"], group["sent"]) == (unfinished, True)
    assert len(faulty.batches) == 2


def test_two_retries_at_once_send_once(real: LocalServer) -> None:
    """If two shells retry the same job at the same time, its failed requests are sent once."""
    assert real.token
    write("in.jsonl", [request("a", "echo-1", "fine"), request("b", "echo-1", "shaky !status=500,6")])
    invoke("run", "in.jsonl", "-p", "real", "-o", "out.jsonl").failed(5, "1 of 2 answered")
    words = [sys.executable, "-m", "openai_batch", "retry"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert not any("Traceback" in text for text in told), told
    assert 0 in [process.returncode for process in both]
    (job,) = json.loads(invoke("ls", "--json").succeeded().out)
    assert len(job["batch_ids"]) == 2
