"""Errors name their cause, and hints name a remedy that helps."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import inside, request, write
from support.servers import wait_until

from openai_batch.errors import count_text
from openai_batch.providers.remedies import remedy

if TYPE_CHECKING:
    from support.faults import FaultServer

RETRY_HINTS = ("run the same command again", "obatch retry", "--again")


def submit(fault: str, provider: str = "faulty") -> list[str]:
    """Write a batch file with this fault, and return the command that submits it."""
    return ["submit", str(write("in.jsonl", [request("a", f"fault:{fault}")])), "-p", provider]


@pytest.mark.slow
def test_an_unreachable_provider_is_named_with_the_cause() -> None:
    """Every command reports the network error of an unreachable provider, and the hint has its address."""
    profile = '[providers.dead]\nbase_url = "http://127.0.0.1:9/v1"\n'
    Path(os.environ["OBATCH_CONFIG"]).write_text(profile, encoding="utf-8")
    for words in (["status", "batch_x", "-p", "dead"], submit("", "dead"), ["recover", "-p", "dead"]):
        result = inside(*words)
        assert "dead cannot be reached (connection refused)" in result.err
        assert "no job" not in result.err
        assert "the same command" not in result.err
    inside("status", "batch_x", "-p", "dead").failed(1, "connection refused", "http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        ("upload=404", "said 404", "check the provider's base URL, http://127.0.0.1"),
        ("create=400:You exceeded your current quota", "quota", "top up the account"),
        ("create=400:insufficient_quota", "insufficient_quota", "top up the account"),
        ("create=400:metadata is too long", "metadata", "would be refused again"),
        ("create=422", "said 422", "would be refused again"),
        ("create=400:The model `x` does not exist", "does not exist", "-m"),
        ("create=413", "said 413", "max_bytes"),
        ("upload=401", "said 401", "check the key in TEST_KEY"),
    ],
)
def test_hints_fit_a_refusal(faulty: FaultServer, fault: str, message: str, hint: str) -> None:
    """If a request would be refused again, the hint says what to change, not to run it again."""
    result = inside(*submit(fault))
    assert message in result.err
    (told,) = [line for line in result.err.splitlines() if line.startswith("hint:")]
    assert hint in told
    assert not any(words in told for words in RETRY_HINTS)
    assert not faulty.batches


@pytest.mark.parametrize(
    ("fault", "path"), [("upload=quota*9", "/files"), ("create=quota*9", "/batches"), ("poll=quota*9", "/batches/.*")]
)
def test_an_exhausted_quota_is_not_retried(faulty: FaultServer, fault: str, path: str) -> None:
    """A request that is refused because of an exhausted quota is sent once."""
    words = [*submit(fault), "-q"]
    command = words if "poll" not in fault else ["run", *words[1:], "-o", "out.jsonl"]
    inside(*command).failed(1, "exceeded your current quota", "top up the account")
    assert len(faulty.seen("GET" if "poll" in fault else "POST", path)) == 1


@pytest.mark.slow
def test_hints_fit_a_job_that_ended(faulty: FaultServer) -> None:
    """`wait` suggests `download` only if there are results, and `retry` is suggested only if it can help."""
    inside(*submit("steps=in_progress,in_progress,in_progress,in_progress;rows=allerrors")).succeeded()
    inside("wait", "1").failed(5, "job 1 completed", "obatch download 1")
    failed = inside("download", "1", "-o", "x.jsonl")
    assert "obatch retry" not in failed.err.partition("hint:")[2]
    faulty.also = {"errors": {"data": [{"code": "model_not_found", "message": "no such model"}]}}
    inside(*submit("end=failed")).succeeded()
    inside("wait", "2").failed(5, "job 2 failed", "name another model with -m")
    inside("download", "2").failed(5, "no such model", "-m")
    assert len(faulty.batches) == 2


def test_a_missing_configuration_file(faulty: FaultServer) -> None:
    """If OBATCH_CONFIG names no file, commands fail, and `providers add` creates it."""
    env = {"OBATCH_CONFIG": str(Path("nowhere.toml").absolute())}
    for words in (["providers"], submit(""), ["config", "show"]):
        inside(*words, env=env).failed(2, "nowhere.toml, and there is no such file", "unset it")
    inside("providers", "add", "acme", "--base-url", "https://acme.example/v1", env=env).succeeded()
    assert "acme" in inside("providers", env=env).succeeded().out
    assert not faulty.requests


def test_a_missing_key_names_the_configuration(faulty: FaultServer) -> None:
    """The hint for a missing key names the variable and the settings of the profile."""
    told = inside(*submit(""), env={"TEST_KEY": None}).failed(4, "TEST_KEY is not set", "export TEST_KEY=…")
    assert "api_key_command or api_key_keyring in its profile" in told.err
    assert "did you mean faulty?" in inside("status", "batch_x", "-p", "faultty").failed(6, "faultty").err
    assert os.environ["TEST_KEY"]
    assert not faulty.requests


def test_numbers_agree_with_their_nouns() -> None:
    """A number has the right form of its noun and verb."""
    assert [count_text(n, "batch") for n in (0, 1, 2000)] == ["0 batches", "1 batch", "2,000 batches"]
    assert [count_text(n, "row", "was") for n in (1, 2)] == ["1 row was", "2 rows were"]
    assert [count_text(n, "result", "repeats") for n in (1, 2)] == ["1 result repeats", "2 results repeat"]


def test_a_failed_request_that_is_not_sent_again(faulty: FaultServer) -> None:
    """The messages about a job of one request do not say "1 requests"."""
    write("in.jsonl", [request("a", "fault:rows=allerrors")])
    told = inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").err + inside("wait", "1").err
    told += inside("retry", "1").failed(5, "job 1: 1 failed request is not sent again").err
    assert "1 requests" not in told
    assert faulty.batches


def test_a_temporary_limit_is_not_an_exhausted_quota() -> None:
    """A rate limit error that links to a billing page does not count as an exhausted quota."""
    passing = "Rate limit reached. You can increase it at https://platform.openai.com/account/billing."
    assert remedy("rate_limit_exceeded", passing) == ""
    assert "top up" in remedy("billing_hard_limit_reached", "Billing hard limit has been reached")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "submit"])
def test_the_hint_says_that_nothing_was_sent(faulty: FaultServer, command: str) -> None:
    """If the provider was never reached, the hint says that nothing was sent."""
    words = [command, str(write("in.jsonl", [request("a", "fault:upload=deaf")])), "-p", "faulty"]
    faulty.stop_listening()
    inside(*words).failed(1, "faulty cannot be reached", "nothing was sent; check the network")
    inside(*words).failed(1, "faulty cannot be reached", "nothing was sent; check the network")
    faulty.listen_again()
    told = inside(*words).failed(1, "could not create the batch", "no batch was created; check the network")
    assert "nothing was sent" not in told.err
    assert len(faulty.files) == 1
    faulty.listen_again()
    inside(*words).succeeded()
    assert len(faulty.batches) == 1


@pytest.mark.parametrize("last", ["lost", "refused"])
def test_a_partial_upload_counts_as_sent(faulty: FaultServer, last: str) -> None:
    """If the connection breaks during an upload, the hint does not say that nothing was sent."""

    def refuse() -> None:
        wait_until(lambda: faulty.uploads, "the first try")
        faulty.stop_listening()

    if last == "refused":
        threading.Thread(target=refuse).start()
    told = inside(*submit("upload=reset:100*9")).err
    assert ("connection refused" in told) == (last == "refused")
    assert "hint: no batch was created; " in told
    assert "nothing was sent" not in told
    assert not faulty.batches


def test_the_hint_does_not_deny_an_earlier_batch(faulty: FaultServer) -> None:
    """If a job may already have a batch, the hint does not say that nothing was sent."""
    write("in.jsonl", [request("a", "fault:steps=in_progress,in_progress")])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    faulty.stop_listening()
    told = inside("submit", "in.jsonl", "-p", "faulty", "--check-remote").failed(1, "cannot be reached").err
    assert "nothing was sent" not in told
    assert "no batch" not in told
