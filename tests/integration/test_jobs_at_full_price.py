"""`Jobs.sample` and `Job.wait_until`: requests outside of a batch, from Python."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

import openai_batch
from openai_batch import Jobs
from openai_batch.errors import AuthError, CostError, UsageError, WaitTimeoutError
from openai_batch.testing import Failure, fake_provider

REQUESTS = [
    {"model": "m", "messages": [{"role": "user", "content": f"text {number}"}], "max_tokens": 10}
    for number in range(40)
]


def answer(request: dict[str, Any]) -> Any:
    """Repeat the prompt, or fail for one of them."""
    text = request["body"]["messages"][-1]["content"]
    return Failure(400, "no") if text == "text 1" else f"about {text}"


def test_a_sample_is_answered_at_once() -> None:
    """`sample` sends only its requests, without a batch or a job, and estimates the cost of all."""
    with fake_provider(answer) as fake, Jobs() as jobs:
        made = jobs.sample(REQUESTS, 2)
        assert [(row.prompt, row.result.text) for row in made.rows] == [("text 0", "about text 0"), ("text 1", None)]
        assert made.paid is not None
        assert made.whole.likely is not None
        assert len(asyncio.run(jobs.sample_async(iter(REQUESTS))).rows) == 5
        assert (len(fake.requests), fake.batches, jobs.list()) == (7, [], [])
        fake.fail("POST /chat/completions", 401)
        with pytest.raises(AuthError, match="said 401"):
            jobs.sample(REQUESTS, 2)


def test_late_requests_are_sent_outside_of_the_batch() -> None:
    """At the deadline the batch is cancelled, and each request is sent once."""
    late = datetime.now().astimezone()
    with fake_provider(answer, polls=1_000_000) as fake, Jobs() as jobs:
        job = jobs.submit(REQUESTS).wait_until(late, max_cost=5)
        results = list(job.results())
        assert [result.text for result in results[2:]] == [f"about text {number}" for number in range(2, 40)]
        assert [batch["status"] for batch in fake.batches] == ["cancelled"]
        assert len(fake.requests) == len(REQUESTS)
        run = openai_batch.start(["a", "b"], model="m", params={"max_tokens": 10}, max_cost=5)
        assert asyncio.run(run.wait_until_async(late)).outcomes == {"success": 2}


def test_a_deadline_needs_a_limit_of_costs() -> None:
    """A deadline without `max_cost`, or with a limit that is too low, is refused."""
    with fake_provider(answer, polls=1_000_000) as fake, Jobs() as jobs:
        job = jobs.submit(REQUESTS)
        with pytest.raises(UsageError, match="a deadline needs max_cost=") as caught:
            job.wait_until(datetime.now().astimezone())
        assert "max_cost=5" in caught.value.hint
        with pytest.raises(CostError):
            job.wait_until(datetime.now().astimezone(), max_cost=0.00001)
        with pytest.raises(WaitTimeoutError):
            job.wait_until(datetime.now().astimezone() + timedelta(hours=9), max_cost=5, timeout=0.1)
        assert (fake.requests, fake.batches[0]["status"]) == ([], "in_progress")
