"""`obatch sample`: answers a few rows at once, at the full price, and estimates the cost of the whole input."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import inside, plain, request, see, write

from openai_batch.testing import Failure, fake_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.testing import FakeProvider

PRICES = """
[providers.fake.prices."priced"]
input = 1.0
output = 4.0
"""
FULL = 2 * (1000 * 1.0 + 100 * 4.0) / 1_000_000
"""The cost of an answer outside of a batch, in USD."""


def answer(request: dict[str, Any]) -> Any:
    """Answer with many tokens; a request whose text says so fails."""
    text = request["body"]["messages"][-1]["content"]
    if "fail" in text:
        return Failure(400, "this is not allowed", "not_allowed")
    choice = {"index": 0, "message": {"role": "assistant", "content": f"about {text}"}, "finish_reason": "stop"}
    return {"model": "priced", "choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """Run a provider with prices for the model `priced`."""
    with fake_provider(answer) as fake:
        with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as handle:
            handle.write(PRICES)
        yield fake


def test_a_few_rows_at_the_full_price(provider: FakeProvider) -> None:
    """`sample` sends a few requests without a batch or a job, and estimates the cost of the whole batch."""
    write("in.jsonl", [request(f"r{n}", "priced", f"text {n}", max_tokens=500) for n in range(50)])
    result = inside("sample", "in.jsonl", "-n", "2").succeeded()
    assert result.rows == [["r0", "text 0", "about text 0"], ["r1", "text 1", "about text 1"]]
    assert "2 requests to fake, outside of a batch, at the full price" in result.err
    assert f"paid: ${2 * FULL:.4f}; nothing is recorded, so a run sends and pays these requests again" in result.err
    assert "the whole input as a batch, 50 requests: about $0.02" in result.err
    assert "tokens out: a guess, by the answers of this sample" in result.err
    told = inside("sample", "in.jsonl", "--json").succeeded().json
    assert [row["custom_id"] for row in told["rows"]] == [f"r{n}" for n in range(5)]
    assert told["rows"][0]["answer"] == "about text 0"
    assert told["usd_paid"] == pytest.approx(5 * FULL)
    assert told["whole"]["models"][0]["output_tokens"] == 50 * 100
    assert len(provider.requests) == 7
    assert provider.batches == []
    assert inside("ls", "--json").json == []


@pytest.mark.usefixtures("provider")
def test_a_table_is_sampled_like_it_is_run() -> None:
    """`sample` takes the options of `run`; --limit applies to the whole input."""
    Path("in.csv").write_text("text\n" + "".join(f"row {n}\n" for n in range(9)), encoding="utf-8")
    words = ("sample", "in.csv", "-m", "priced", "--prompt", "Say {{ text }}", "--limit", "8", "-n", "1", "--json")
    told = inside(*words).succeeded().json
    assert told["rows"][0]["prompt"] == "Say row 0"
    assert told["whole"]["requests"] == 8


@pytest.mark.slow
@pytest.mark.usefixtures("provider")
def test_the_sample_in_windows() -> None:
    """Prompts and answers are side by side in 80 columns, and below each other in 40."""
    write("in.jsonl", [request("r0", "priced", "why is the sky blue")])
    shown = plain(see("sample", "in.jsonl", columns=80).succeeded().out)
    assert any("why is" in line and "about why is" in line for line in shown.splitlines()), shown
    assert max(map(len, shown.splitlines())) <= 80
    shown = plain(see("sample", "in.jsonl", columns=40).succeeded().out)
    assert "request  why is the sky blue" in shown, shown
    assert "answer   about why is the sky blue" in shown, shown
    assert max(map(len, shown.splitlines())) <= 40


@pytest.mark.usefixtures("provider")
def test_a_row_that_fails_is_shown_with_its_cause() -> None:
    """A failed request is shown with its error and has no cost, and the exit code is 5."""
    write("in.jsonl", [request("r0", "priced", "fail"), request("r1", "priced", "go")])
    result = inside("sample", "in.jsonl").failed(5, "1 of 2 requests failed", "fix what the answers say")
    assert "not_allowed" in result.rows[0][2]
    assert result.rows[1] == ["r1", "go", "about go"]
    assert f"paid: ${FULL:.4f};" in result.err


def test_a_request_is_sent_once(provider: FakeProvider) -> None:
    """A request that fails with a server error is not sent again by the SDK."""
    write("in.jsonl", [request("r0", "priced"), request("r1", "priced")])
    provider.fail("POST /chat/completions", 500)
    result = inside("sample", "in.jsonl").failed(5, "1 of 2 requests failed")
    assert "told to fail" in result.rows[0][2]
    assert len(provider.requests) == 1


def test_a_sample_of_an_unreachable_provider(provider: FakeProvider) -> None:
    """If the provider cannot be reached or refuses the key, `sample` fails."""
    write("in.jsonl", [request("r0", "priced")])
    provider.fail("POST /chat/completions", 401)
    inside("sample", "in.jsonl").failed(4, "said 401")
    config = Path(os.environ["OBATCH_CONFIG"])
    config.write_text(re.sub(r"127.0.0.1:\d+", "127.0.0.1:9", config.read_text()), encoding="utf-8")
    inside("sample", "in.jsonl").failed(1, "cannot be reached")


@pytest.mark.slow
@pytest.mark.usefixtures("real")
def test_the_local_provider_answers_a_sample() -> None:
    """The local provider answers a sample."""
    write("in.jsonl", [request("r0", text="hello")])
    result = inside("sample", "in.jsonl", "-p", "real").succeeded()
    assert result.rows[0][:2] == ["r0", "hello"]
