"""Two processes that plan the same input at the same time: the one that comes second looks again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from integration.conftest import shop

from openai_batch.jobs.reuse import find_reusable, plan_submission
from openai_batch.jobs.store.registry import OvertakenError
from openai_batch.jobs.submit import start

if TYPE_CHECKING:
    from support.provider_home import Shop

__all__ = ["shop"]


def test_an_order_that_was_overtaken_is_not_sent(shop: Shop) -> None:
    """A plan that does not know of a job of the same input, started since, is refused, and a new one takes its rows."""
    flow = shop.flow()
    first = replace(shop.order("m", 3, "one.jsonl"), input_name="the table")
    second = replace(shop.order("m", 5, "two.jsonl"), input_name="the table")
    stale = plan_submission(flow, find_reusable(flow, second, shop.folder / "work-two.jsonl", dedup=False), flow.wait)
    start(
        flow, plan_submission(flow, find_reusable(flow, first, shop.folder / "work-one.jsonl", dedup=False), flow.wait)
    )
    with pytest.raises(OvertakenError):
        start(flow, stale)
    assert len(shop.server.batches) == 1
    again = plan_submission(flow, find_reusable(flow, second, shop.folder / "work-two.jsonl", dedup=False), flow.wait)
    start(flow, again)
    assert [batch.input.data.count(b"\n") for batch in shop.server.batches.values()] == [3, 2]


def test_the_same_order_is_not_overtaken_by_itself(shop: Shop) -> None:
    """Two processes with the same order share its job, whoever comes first."""
    flow = shop.flow()
    order = replace(shop.order("m", 3), input_name="the table")
    plans = [
        plan_submission(flow, find_reusable(flow, order, shop.folder / "work-in.jsonl", dedup=False), None)
        for _ in range(2)
    ]
    jobs = [start(flow, plan)[0] for plan in plans]
    assert jobs[0].id == jobs[1].id
    assert len(shop.server.batches) == 1
