"""`--deadline` cancels what is late and sends the rest at once; after a kill at any step, no row is paid twice."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import COMMAND, environment, ids, inside, request, write
from support.servers import echo_upstream, local_server

from openai_batch.jobs.direct import AT_ONCE, CANCELLING
from openai_batch.jobs.store.registry import Registry
from openai_batch.net import answers as answers_module
from openai_batch.testing import Failure, fake_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_batch.testing import FakeProvider

PRICES = """
[providers.fake.prices."priced"]
input = 1.0
output = 4.0
"""
FULL = 2 * (100 * 1.0 + 10 * 4.0) / 1_000_000
"""The cost of one answer outside of a batch, in USD."""

ROWS = 60
LATE = ("run", "in.jsonl", "-o", "out.jsonl", "--deadline", "0s", "--max-cost", "5")


@pytest.fixture(autouse=True)
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder with a file of requests."""
    assert home.is_dir()
    monkeypatch.chdir(tmp_path)
    write("in.jsonl", [request(f"r{n}", "priced", f"text {n}", max_tokens=20) for n in range(ROWS)])


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """Run a provider whose batches never complete."""
    with slow(lambda _: None) as fake:
        yield fake


def slow(before: Callable[[dict[str, Any]], Any]) -> Any:
    """Return the context of such a provider; `before` returns the answer to a request, or None for the default."""

    def answer(request: dict[str, Any]) -> Any:
        text = request["body"]["messages"][-1]["content"]
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        return before(request) or {"model": "priced", "choices": [choice], "usage": usage}

    @contextlib.contextmanager
    def running() -> Iterator[FakeProvider]:
        with fake_provider(answer, polls=1_000_000) as fake:
            with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as handle:
                handle.write(PRICES)
            yield fake

    return running()


def texts(provider: FakeProvider) -> Counter[str]:
    """Return how often each row was answered, and therefore paid."""
    return Counter(each["body"]["messages"][-1]["content"] for each in provider.requests)


def state(pattern: str) -> list[Path]:
    """Return the files in the job folder that match the pattern."""
    return list(Path(os.environ["OBATCH_STATE_DIR"]).glob(f"jobs/*/{pattern}"))


def answers() -> dict[str, str]:
    """Return the answers in the output, by id."""
    lines = map(json.loads, Path("out.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines}


WHOLE = {f"r{n}": f"text {n}" for n in range(ROWS)}


@pytest.mark.slow
def test_late_requests_are_sent_at_once(provider: FakeProvider) -> None:
    """The batch is cancelled, each row is answered once, the output is in input order, the full price is counted."""
    result = inside(*LATE).succeeded()
    assert "it may miss the deadline; its batches are cancelled" in result.err
    assert f"sending {ROWS} requests outside of a batch, at the full price of at most $" in result.err
    assert [batch["status"] for batch in provider.batches] == ["cancelled"]
    assert ids("out.jsonl") == [f"r{n}" for n in range(ROWS)]
    assert answers() == WHOLE
    assert set(texts(provider).values()) == {1}
    told = inside("status", "--json").json
    assert told["status"] == "completed"
    assert told["cost"]["usd"] == pytest.approx(ROWS * FULL)
    assert told["cost"]["usd_saved"] == 0
    inside(*LATE).succeeded()
    inside("download", "-o", "again.jsonl").succeeded()
    assert Path("again.jsonl").read_bytes() == Path("out.jsonl").read_bytes()
    assert sum(texts(provider).values()) == ROWS
    inside("prune", "--older-than", "0s").succeeded()
    inside("results", "-o", "table.csv").succeeded()
    assert len(Path("table.csv").read_text(encoding="utf-8").splitlines()) == ROWS + 1


def test_a_deadline_is_capped_before_anything_is_sent(provider: FakeProvider) -> None:
    """Without `--max-cost` it is refused, and so is a job that could cost more, or has no known price."""
    inside(*LATE[:-2]).failed(2, "--deadline needs --max-cost")
    inside(*LATE, "--retries", "1").failed(2, "cannot be used together")
    inside(*LATE[:-3], "25:00", "--max-cost", "5")
    batch = inside("cost", "in.jsonl", "--json").json["usd_at_most"]
    inside(*LATE[:-1], str(batch * 1.5)).failed(3, "nothing was sent")
    config = Path(os.environ["OBATCH_CONFIG"])
    config.write_text(config.read_text().replace("batch_discount = 0.5", ""), encoding="utf-8")
    inside(*LATE).failed(3, "the price of priced at fake is unknown")
    assert provider.batches == []
    assert provider.requests == []


def test_a_job_that_meets_its_deadline_is_not_changed() -> None:
    """If the batch ends before the deadline, nothing is sent outside of it."""
    with fake_provider(lambda each: each["body"]["messages"][-1]["content"]) as fake:
        with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as handle:
            handle.write(PRICES)
        inside(*LATE[:-3], "8h", "--max-cost", "5").succeeded()
        assert len(fake.requests) == ROWS
        assert [batch["status"] for batch in fake.batches] == ["completed"]


def test_a_running_job_can_get_a_deadline(provider: FakeProvider) -> None:
    """`wait` also takes `--deadline`."""
    inside("submit", "in.jsonl").succeeded()
    inside("wait", "1", "--deadline", "0s").failed(2, "needs --max-cost")
    result = inside("wait", "1", "--deadline", "0s", "--max-cost", "5").succeeded()
    assert "its batches are cancelled" in result.err
    inside("download", "1", "-o", "out.jsonl").succeeded()
    assert answers() == WHOLE
    assert sum(texts(provider).values()) == ROWS


def test_a_request_that_fails_is_one_row() -> None:
    """A request that fails is not sent again, its cause is shown, and a 429 is retried."""
    seen: Counter[str] = Counter()

    def before(each: dict[str, Any]) -> Any:
        text = each["body"]["messages"][-1]["content"]
        seen[text] += 1
        if text == "text 3":
            return Failure(400, "this is not allowed", "not_allowed")
        return Failure(429, "slow down") if text == "text 4" and seen[text] == 1 else None

    with slow(before):
        result = inside(*LATE).failed(5, "59 succeeded, 1 failed", "fix these requests")
    assert "not_allowed" in result.err
    assert {text: count for text, count in seen.items() if count > 1} == {"text 4": 2}
    assert len(ids("out.jsonl")) == ROWS


def test_an_answer_that_cannot_be_read_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is nested too deeply, or too large, is reported and not sent again: it may be paid."""
    monkeypatch.setattr(answers_module, "MAX_RESPONSE_BYTES", 10_000)
    seen: Counter[str] = Counter()

    def before(each: dict[str, Any]) -> Any:
        text = each["body"]["messages"][-1]["content"]
        seen[text] += 1
        deep: Any = "found"
        for _ in range(300):
            deep = [deep]
        return {"text 3": {"choices": deep}, "text 4": {"choices": "x" * 20_000}}.get(text)

    with slow(before):
        for _ in range(2):
            result = inside(*LATE).failed(5, "58 succeeded, 2 failed", "obatch retry 1")
            assert "the answer cannot be read" in result.err
            assert "the answer has more than 10,000 bytes" in result.err
    assert set(seen.values()) == {1}
    assert len(ids("out.jsonl")) == ROWS
    assert '\\"found\\"' in Path("out.jsonl").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 30, 59])
def test_killed_while_the_rest_is_sent(at: int) -> None:
    """The same command continues: stored answers are not sent again, only requests that were in progress."""
    with slow(lambda _: time.sleep(0.02)) as fake:
        with subprocess.Popen([*COMMAND, *LATE], env=environment(), stderr=subprocess.DEVNULL) as process:
            while len(fake.requests) < at:
                time.sleep(0.005)
            process.kill()
        written = sum(path.read_bytes().count(b"\n") for path in state("direct-*.answers"))
        inside(*LATE).succeeded()
        assert answers() == WHOLE
        assert set(texts(fake)) == set(WHOLE.values())
        assert sum(texts(fake).values()) <= ROWS + AT_ONCE
        assert written >= at - AT_ONCE
        assert len(fake.batches) == 1


KILLED_WHEN: dict[str, Callable[[FakeProvider], object]] = {
    "the batch exists": lambda provider: provider.batches,
    "it is cancelled": lambda provider: provider.batches and provider.batches[0]["status"] == "cancelled",
    "the rest is known": lambda _: state("direct-*.ids"),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", KILLED_WHEN)
def test_killed_before_the_rest_is_sent(moment: str, provider: FakeProvider) -> None:
    """The deadline is stored with the job: the same command continues even if it names another deadline."""
    with subprocess.Popen([*COMMAND, *LATE], env=environment(), stderr=subprocess.DEVNULL) as process:
        while not KILLED_WHEN[moment](provider):
            time.sleep(0.001)
        process.kill()
    inside(*LATE[:-3], "20h", *LATE[-2:], "--timeout", "3s")
    if not Path("out.jsonl").exists():  # killed before the deadline was stored
        assert moment == "the batch exists"
        inside(*LATE).succeeded()
    assert answers() == WHOLE
    assert sum(texts(provider).values()) <= ROWS + AT_ONCE
    assert len(provider.batches) == 1


@pytest.mark.slow
def test_a_cancel_stops_what_is_sent_at_once() -> None:
    """The requests in flight are the last ones that are sent, and every answer that was paid is in the results."""
    answered: list[str] = []
    cancelled = threading.Event()

    def wait_for_the_cancel(request: dict[str, Any]) -> None:
        answered.append(request["custom_id"])
        if len(answered) > AT_ONCE:  # a few are answered before
            cancelled.wait(60)

    with slow(wait_for_the_cancel) as provider, contextlib.closing(Registry()) as registry:
        with subprocess.Popen([*COMMAND, *LATE], stderr=subprocess.PIPE, text=True, env=environment()) as sending:
            while len(answered) <= AT_ONCE:
                time.sleep(0.01)
            with subprocess.Popen([*COMMAND, "cancel", "1"], env=environment()) as cancelling:
                while registry.job(1).parts[-1].status != CANCELLING:
                    time.sleep(0.01)
                cancelled.set()
            assert cancelling.returncode == 0
            told = sending.communicate(timeout=60)[1]
        assert len(provider.requests) <= 3 * AT_ONCE < ROWS, told
        assert sending.returncode == 5, told
        assert inside("status", "--json").json["status"] == "cancelled"
        inside("download", "--force", "-o", "out.jsonl").failed(5, "")
        assert set(answers().values()) == set(texts(provider))
        assert len(answers()) == len(answered)


@pytest.mark.slow
def test_results_of_the_cancelled_batch_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real server, rows that the batch has answered are not sent again, and have the batch price."""
    slow_rows = [request(f"s{n}", text=f"!sleep=2 slow {n}", max_tokens=20) for n in range(8)]
    write("in.jsonl", [*(request(f"q{n}", text=f"quick {n}", max_tokens=20) for n in range(8)), *slow_rows])
    with echo_upstream() as echo, local_server(tmp_path / "server", upstream=echo.base_url, concurrency=4) as server:
        table = f'[providers.real]\nbase_url = "{server.base_url}"\napi_key_env = "REAL_KEY"\nbatch_discount = 0.5\n'
        prices = '[providers.real.prices."echo-1"]\ninput = 1.0\noutput = 4.0\n'
        Path(os.environ["OBATCH_CONFIG"]).write_text(table + prices, encoding="utf-8")
        monkeypatch.setenv("REAL_KEY", server.token)
        inside("submit", "in.jsonl", "-p", "real").succeeded()
        while inside("status", "--json").json["requests"]["completed"] < 8:
            time.sleep(0.1)
        inside("wait", "--deadline", "0s", "--max-cost", "5").succeeded()
        inside("download", "-o", "out.jsonl").succeeded()
        assert ids("out.jsonl") == ids("in.jsonl")
        assert {count for text, count in echo.calls().items() if "quick" in text} == {1}
        (model,) = inside("status", "--json").json["cost"]["models"]
        assert model["results"] == 16
        assert 0 < model["usd_saved"] < model["usd"]
