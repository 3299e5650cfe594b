"""`obatch cost`, `--max-cost` and the receipt: estimated cost, highest cost, and actual cost."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import Result, inside, invoke, plain, request, see, write

from openai_batch import Jobs
from openai_batch import map as map_rows
from openai_batch.errors import CostError
from openai_batch.testing import Failure, fake_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_batch.testing import FakeProvider

USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 30},
}
# In a batch, per million: 600 x 1 + 400 x 0.25 + 100 x 4 dollars.
COST = 0.0011
PRICES = """
[providers.fake.prices."priced"]
input = 1.0
cached_input = 0.25
output = 4.0
"""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer with tokens, under the dated name of the model."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    model = f"{request['body']['model']}-2026-01-31"
    return {"object": "chat.completion", "model": model, "choices": [choice], "usage": USAGE}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """Run a provider with prices for the model `priced`."""
    with priced(answer) as fake:
        yield fake


def priced(answers: Callable[[dict[str, Any]], Any]) -> Any:
    """Return the context of a provider with prices."""
    import contextlib

    @contextlib.contextmanager
    def running() -> Iterator[FakeProvider]:
        with fake_provider(answers) as fake:
            config = Path(os.environ["OBATCH_CONFIG"])
            config.write_text(config.read_text(encoding="utf-8").partition("prices.")[0] + PRICES, encoding="utf-8")
            yield fake

    return running()


def made(count: int = 10, model: str = "priced", name: str = "in.jsonl", **body: Any) -> None:
    """Write requests with a limit of 100 output tokens each."""
    write(name, [request(f"r{n}", model, f"text {n}", **{"max_tokens": 100, **body}) for n in range(count)])


def failing_once(request: dict[str, Any], seen: Counter[str]) -> Any:
    """Fail the first call of every second request."""
    name = request["custom_id"]
    seen[name] += 1
    return Failure(429) if seen[name] == 1 and int(name[1:]) % 2 else answer(request)


def test_what_requests_can_cost(provider: FakeProvider) -> None:
    """`cost` prints the estimate and the highest cost for each model, as a table and as JSON, and sends nothing."""
    made()
    result = inside("cost", "in.jsonl").succeeded()
    (row,) = result.rows
    assert row[:2] == ["priced", "10"]
    assert row[3] == "1000"
    assert "batch prices from your configuration" in result.err
    assert "tokens in: estimated" in result.err
    assert "tokens out: the limits of the requests" in result.err
    told = inside("cost", "in.jsonl", "--json").succeeded().json
    assert told["usd"] == float(row[4])
    assert told["usd_at_most"] == float(row[5])
    assert told["usd_saved"] == told["usd"]
    assert told["models"][0]["price"]["output"] == 4.0
    assert 0.004 < told["usd"] < told["usd_at_most"] < 0.01
    assert provider.batches == []


def test_the_cost_in_a_window(provider: FakeProvider) -> None:
    """In 80 columns the table keeps its headings, and small amounts keep their digits."""
    made()
    shown = plain(see("cost", "in.jsonl", columns=80).succeeded().out)
    assert "tokens in" in shown
    assert "at most" in shown
    assert "$0.0042" in shown or "$0.0041" in shown, shown
    assert max(map(len, shown.splitlines())) <= 80
    assert provider.batches == []


def test_prompts_and_tables_have_a_cost(provider: FakeProvider) -> None:
    """`cost` takes the inputs of `run`, and counts identical prompts of a table once."""
    Path("in.csv").write_text("text\ngood\nbad\ngood\n", encoding="utf-8")
    words = ("cost", "in.csv", "-m", "priced", "--prompt", "Label: {{ text }}", "--param", "max_tokens=5", "--json")
    told = inside(*words).succeeded().json
    assert (told["requests"], told["models"][0]["output_tokens_at_most"]) == (2, 10)
    assert inside(*words, "--no-dedup").json["requests"] == 3
    assert invoke("cost", "-", "-m", "priced", "--json", stdin="one\ntwo\n").json["requests"] == 2
    inside("cost", "absent.csv").failed(3, "absent.csv")
    write("bad.jsonl", [request("a", "priced"), request("a", "priced")])
    inside("cost", "bad.jsonl").failed(3, "1 problem")
    assert provider.batches == []


def test_an_unknown_price_is_shown_as_unknown(provider: FakeProvider) -> None:
    """An unknown price gives a cost of null, not 0, and the message says how to set the price."""
    made(model="other")
    told = inside("cost", "in.jsonl", "--json").succeeded().json
    assert (told["usd"], told["usd_at_most"], told["models"][0]["price"]) == (None, None, None)
    assert """obatch config set 'providers.fake.prices."other"\'""" in inside("cost", "in.jsonl").err
    inside("run", "in.jsonl").succeeded()
    assert "unknown: the price or the tokens are unknown" in inside("status").fields["cost"]
    assert inside("status", "--json").json["cost"]["usd"] is None
    assert len(provider.batches) == 1


@pytest.mark.parametrize("command", [("run",), ("submit",), ("run", "--dry-run"), ("submit", "--dry-run")])
def test_too_high_a_cost_sends_nothing(provider: FakeProvider, command: tuple[str, ...]) -> None:
    """A job that can cost more than --max-cost is refused before the upload, and no job is created."""
    made()
    inside(*command, "in.jsonl", "--max-cost", "0.004").failed(3, "nothing was sent", "--max-cost 0.0")
    made(model="other", name="other.jsonl")
    inside(*command, "other.jsonl", "--max-cost", "999").failed(3, "the price of other", "obatch config set")
    made(name="open.jsonl", max_tokens=None)
    inside(*command, "open.jsonl", "--max-cost", "999").failed(3, "no limit of output tokens", "max_completion_tokens")
    inside(*command, "in.jsonl", "--max-cost", "much").failed(2, "--max-cost is 'much'")
    assert (provider.batches, provider.requests) == ([], [])
    inside("status").failed(6, "no jobs yet")


def test_a_dry_run_shows_the_cost(provider: FakeProvider) -> None:
    """`--dry-run` shows the cost of what would be sent."""
    made()
    told = inside("run", "in.jsonl", "--dry-run", "--max-cost", "1")
    assert "cost: about $0.004" in told.succeeded().err
    assert inside("submit", "in.jsonl", "--dry-run", "--json").json["cost"]["usd"] > 0.004
    assert provider.batches == []


def test_the_receipt(provider: FakeProvider) -> None:
    """The tokens of the results and their cost are shown at the end of a run and in `status`."""
    made()
    ended = inside("run", "in.jsonl", "--max-cost", "1").succeeded()
    assert "cost $0.011, $0.011 saved" in ended.err
    assert inside("status").fields["cost"] == "$0.011, $0.011 saved, prices by your configuration"
    told = inside("status", "--json").json
    assert told["max_cost_usd"] == 1
    assert told["cost"]["complete"]
    assert told["cost"]["usd"] == pytest.approx(10 * COST)
    assert told["cost"]["usd_saved"] == pytest.approx(10 * COST)
    (model,) = told["cost"]["models"]
    assert (model["model"], model["results"], model["not_counted"]) == ("priced-2026-01-31", 10, 0)
    tokens = [model[f"{kind}_tokens"] for kind in ("input", "cached_input", "output", "reasoning")]
    assert tokens == [10_000, 4000, 1000, 300]
    assert inside("ls", "--json").json[0]["cost"] == told["cost"]
    made(name="next.jsonl", model="priced", temperature=0)
    guessed = inside("cost", "next.jsonl", "--json").json["models"][0]
    assert (guessed["output_guessed"], guessed["output_tokens"]) == (True, 1000)
    assert len(provider.batches) == 1


def test_the_receipt_does_not_change(provider: FakeProvider) -> None:
    """A later change of a price does not change a receipt; a price that becomes known completes it."""
    made()
    made(model="other", name="other.jsonl")
    for name in ("in.jsonl", "other.jsonl"):
        inside("run", name).succeeded()
    config = Path(os.environ["OBATCH_CONFIG"])
    config.write_text(config.read_text().replace("output = 4.0", "output = 400.0") + PRICES.replace("priced", "other"))
    for job in ("1", "2"):
        inside("results", job, "-o", f"{job}.csv").succeeded()
    assert inside("status", "1", "--json").json["cost"]["usd"] == pytest.approx(10 * COST)
    assert inside("status", "2", "--json").json["cost"]["usd"] == pytest.approx(10 * COST)
    assert len(provider.batches) == 2


def test_retries_are_in_the_receipt_and_in_the_limit() -> None:
    """The cost of retries is added to the receipt, and --max-cost applies to the sum."""
    seen: Counter[str] = Counter()
    with priced(lambda each: failing_once(each, seen)) as provider:
        made()
        # Five answers for 0.0055, and five requests at 0.00044 at most each: 0.0077 is enough, 0.0076 is not.
        inside("run", "in.jsonl", "--max-cost", "0.0060").failed(5, "5 of 10 answered")
        assert inside("status", "--json").json["cost"]["usd"] == pytest.approx(5 * COST)
        refused = inside("retry").failed(3, "spent before included", "--max-cost 0.0")
        assert "nothing was sent" in refused.err
        inside("retry", "--dry-run").failed(3, "spent before included", "--max-cost 0.0")
        assert len(provider.batches) == 1
        inside("retry", "--max-cost", "0.02").succeeded()
        assert inside("status", "--json").json["cost"]["complete"] is False
        inside("wait").succeeded()
        inside("download", "--force").succeeded()
        told = inside("status", "--json").json
        assert told["max_cost_usd"] == 0.02
        assert told["cost"]["usd"] == pytest.approx(10 * COST)
        assert len(provider.batches) == 2


def test_an_automatic_retry_keeps_to_the_limit() -> None:
    """`run --retries` does not send requests again that would exceed --max-cost, and writes the results it has."""
    seen: Counter[str] = Counter()
    with priced(lambda each: failing_once(each, seen)) as provider:
        made()
        ended = inside("run", "in.jsonl", "--max-cost", "0.0060", "--retries", "3").failed(5, "5 of 10 answered")
        assert "the failed requests are not sent again: this can cost up to" in ended.err
        assert len(provider.batches) == 1
        assert Path("in.results.jsonl").read_text(encoding="utf-8").count("\n") == 10


def test_unknown_usage_stops_a_retry() -> None:
    """If the provider reports no tokens, a job with --max-cost is not retried."""
    seen: Counter[str] = Counter()

    def without_usage(each: dict[str, Any]) -> Any:
        given = failing_once(each, seen)
        return given if isinstance(given, Failure) else {**given, "usage": None}

    with priced(without_usage) as provider:
        made()
        inside("run", "in.jsonl", "--max-cost", "1").failed(5, "5 of 10 answered")
        assert "unknown" in inside("status").fields["cost"]
        inside("retry").failed(3, "what job 1 has spent is not known")
        assert len(provider.batches) == 1


def test_a_continued_job_counts_its_earlier_results(provider: FakeProvider) -> None:
    """If a job continues, --max-cost also counts the parts that were sent before."""
    made(4)
    config = Path(os.environ["OBATCH_CONFIG"])
    config.write_text(config.read_text().replace("chat_model", "max_requests = 2\nparallel = 1\nchat_model"))
    provider.fail("POST /batches", 400)
    inside("submit", "in.jsonl").failed(1, "told to fail")
    inside("submit", "in.jsonl", "--max-cost", "0.0010").failed(3, "this can cost up to $0.001")
    assert provider.batches == []
    inside("submit", "in.jsonl", "--max-cost", "0.01").succeeded()
    assert len(provider.batches) == 2


def test_what_was_spent_by_month(provider: FakeProvider) -> None:
    """Without an input, `cost` adds up the receipts of all jobs by month, provider and model."""
    assert "no job has cost anything yet" in inside("cost").succeeded().err
    made()
    made(3, name="more.jsonl")
    made(model="other", name="other.jsonl")
    for name in ("in.jsonl", "more.jsonl", "other.jsonl"):
        inside("run", name).succeeded()
    month = f"{datetime.now(UTC):%Y-%m}"
    result = inside("cost").succeeded()
    assert [row[:4] for row in result.rows] == [
        [month, "fake", "other-2026-01-31", "10"],
        [month, "fake", "priced-2026-01-31", "13"],
    ]
    assert f"{month}: $0.014, and 1 row of unknown cost" in result.err
    told = inside("cost", "--json").json
    assert [row["usd"] for row in told] == [None, pytest.approx(13 * COST)]
    assert len(provider.batches) == 3


def test_costs_in_python(provider: FakeProvider) -> None:
    """`Jobs.estimate`, `max_cost=`, `Job.receipt`, `Jobs.spending` and `map(max_cost=)` do what the command does."""
    made()
    with Jobs() as jobs:
        assert 0.004 < float(jobs.estimate("in.jsonl").at_most or 0) < 0.006
        with pytest.raises(CostError, match="this can cost up to") as told:
            jobs.submit("in.jsonl", max_cost=0.004)
        assert "max_cost=0.0" in told.value.hint
        with pytest.raises(CostError, match="no limit of output tokens"):
            map_rows(["a"], model="priced", max_cost=5, progress=False)
        assert provider.batches == []
        job = jobs.submit("in.jsonl", max_cost=0.5).wait()
        assert job.receipt is None
        assert len(list(job.results())) == 10
        assert job.receipt is not None
        assert float(job.receipt.amount or 0) == pytest.approx(10 * COST)
        assert [float(row.cost.amount or 0) for row in jobs.spending()] == [pytest.approx(10 * COST)]
    answers = map_rows(["a"], model="priced", params={"max_tokens": 9}, max_cost=5, progress=False)
    assert [result.text for result in answers] == ["yes"]


def test_the_help_has_the_page() -> None:
    """`obatch help costs` shows how to set prices."""
    result: Result = inside("help", "costs").succeeded()
    assert "[providers.acme.prices" in result.out
    assert json.dumps("acme/large") in result.out
