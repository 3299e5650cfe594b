"""`openai_batch.testing`: the fake provider with `Batch`, `Jobs` and the command, and its pytest fixture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import openai_batch
from openai_batch import Batch, Jobs, Provider
from openai_batch.errors import ApiError
from openai_batch.testing import Cut, Failure, Refusal, fake_provider


@pytest.mark.slow
def test_jobs_batch_and_the_command_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Jobs`, `Batch` and the command use the fake provider, which records all requests."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    with fake_provider(lambda request: f"to {request['body']['model']}") as fake:
        with Jobs() as jobs:
            job = jobs.submit([{"model": "a", "messages": [{"role": "user", "content": "x"}]}]).wait()
            assert [result.text for result in job.results()] == ["to a"]
        with Batch(provider=fake.provider) as batch:
            batch.add_to_batch(model="b", messages=[{"role": "user", "content": "x"}])
            _, output, _ = batch.submit_wait_download(interval=0)
            assert "to b" in Path(str(output)).read_text(encoding="utf-8")
        Path("prompts.txt").write_text("hello\n", encoding="utf-8")
        words = [sys.executable, "-m", "openai_batch", "run", "prompts.txt", "-o", "-", "--as", "rows"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["answer"] == "to fake-model"
        assert [request["body"]["model"] for request in fake.requests] == ["a", "b", "fake-model"]
        assert [batch["status"] for batch in fake.batches] == ["completed"] * 3
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("url", "answer", "outcome", "text"),
    [
        ("/v1/chat/completions", "hi", "success", "hi"),
        ("/v1/chat/completions", {"choices": [{"message": {"content": "own"}}]}, "success", "own"),
        ("/v1/chat/completions", ["a", 1], "success", '["a", 1]'),
        ("/v1/chat/completions", Refusal("no"), "refused", None),
        ("/v1/chat/completions", Cut("ha"), "cut", "ha"),
        ("/v1/chat/completions", Failure(429, "slow"), "error", None),
        ("/v1/chat/completions", None, "missing", None),
        ("/v1/responses", "hi", "success", "hi"),
        ("/v1/responses", Refusal("no"), "refused", None),
        ("/v1/responses", Cut("ha"), "cut", "ha"),
        ("/v1/completions", "hi", "success", "hi"),
        ("/v1/completions", Cut("ha"), "cut", "ha"),
        ("/v1/embeddings", [0.5, 1.5], "success", "[0.5,1.5]"),
    ],
)
def test_answers_of_every_kind(url: str, answer: Any, outcome: str, text: str | None) -> None:
    """Each kind of answer has the right outcome and text for its endpoint."""
    body = {"model": "m", "input": "x"} if "chat" not in url else {"model": "m", "messages": []}
    if url == "/v1/completions":
        body = {"model": "m", "prompt": "x"}
    with fake_provider(lambda _: answer), Jobs() as jobs:
        (result,) = jobs.submit([{"custom_id": "a", "url": url, "body": body}]).wait().results()
    assert (result.outcome, result.text) == (outcome, text)


@pytest.mark.slow
def test_it_fails_on_demand() -> None:
    """An exception in the function is the request's error, and `fail` makes calls fail."""

    def crash(_: object) -> str:
        raise ValueError("not today")

    request = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    with fake_provider(crash, polls=2) as fake, Jobs() as jobs:
        fake.fail("POST /batches", 400, message="no credit")
        with pytest.raises(ApiError, match="no credit"):
            jobs.submit([request])
        fake.fail("GET /batches", 503)
        (result,) = jobs.submit([request]).wait().results()
        assert "ValueError: not today" in str(result.error)
        assert len(fake.batches) == 1


def test_a_provider_of_the_program(tmp_path: Path) -> None:
    """A program can make its own provider with the base URL."""
    with fake_provider() as fake, Jobs(tmp_path) as jobs:
        own = Provider(name="own", base_url=fake.base_url, api_key="sk-not-a-key")
        job = jobs.submit([{"model": "m", "messages": []}], provider=own).wait()
        assert [result.text for result in job.results()] == ["an answer of the fake provider"]


@pytest.mark.slow
def test_the_fixture(tmp_path: Path) -> None:
    """The pytest fixture works by its name."""
    (tmp_path / "test_own.py").write_text(
        "import openai_batch\n"
        "def test_labels(fake_batch_provider):\n"
        "    assert openai_batch.map(['x'], model='m')[0].ok\n"
        "    assert len(fake_batch_provider.requests) == 1\n",
        encoding="utf-8",
    )
    words = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:randomly"]
    plugin = ["-p", "openai_batch.testing.pytest_plugin"] if not _is_installed() else []
    done = subprocess.run([*words, *plugin, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout


def _is_installed() -> bool:
    """Return whether pytest finds the plugin through its entry point."""
    from importlib.metadata import entry_points

    return any(point.name == "openai_batch" for point in entry_points(group="pytest11"))


def test_a_batch_without_a_job_blocks_no_other_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that `Batch` made are not mistaken for parts of a job."""
    monkeypatch.chdir(tmp_path)
    with fake_provider(polls=1000) as fake:
        with Batch(provider=fake.provider) as batch:
            batch.add_to_batch(model="m", messages=[{"role": "user", "content": "x"}])
            batch.submit(metadata={f"k{number}": "v" for number in range(16)})
        with Batch("other.jsonl", provider=fake.provider) as batch:
            batch.add_to_batch(model="m", messages=[{"role": "user", "content": "y"}])
            batch.submit()
        with Jobs() as jobs:
            job = jobs.submit([{"model": "m", "messages": [{"role": "user", "content": "z"}]}], provider=fake.provider)
            assert [listed.id for listed in jobs.list()] == [job.id]
        assert [len(batch["metadata"]) for batch in fake.batches] == [16, 1, 2]


def test_it_runs_with_any_umask() -> None:
    """With any umask, only the user can read the configuration of the fake provider."""
    before = os.umask(0)
    try:
        with fake_provider():
            assert [result.text for result in openai_batch.map(["x"], model="m")] == ["an answer of the fake provider"]
            assert Path(os.environ["OBATCH_CONFIG"]).stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)
