"""Distributions and causes are correct and use bounded memory."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest

from openai_batch.results.causes import MOST, Causes
from openai_batch.results.distribution import Distribution
from openai_batch.results.outcome import Outcome, Verdict
from openai_batch.results.statistics import OTHER, count_name


def of(*values: Any) -> Distribution:
    """Return the distribution of these values."""
    made = Distribution()
    for value in values:
        made.add(value)
    return made


def test_quantiles_are_exact_below_a_thousand_and_close_above() -> None:
    """Quantiles are exact below a thousand values and within 1 percent above."""
    exact = of(*range(101))
    assert [exact.quantile(share) for share in (0, 0.5, 0.95, 1)] == [0, 50, 95, 100]
    values = sorted(random.Random(1).randint(0, 10**7) for _ in range(10_001))
    made = of(*values)
    for share in (0.01, 0.5, 0.95, 0.99):
        assert made.quantile(share) == pytest.approx(values[int(share * 10_000)], rel=0.01)
    assert (made.count, made.total, made.least, made.most) == (10_001, sum(values), values[0], values[-1])


def test_bars_hold_every_number_once() -> None:
    """The counts of the bars add up, the bars touch, and one outlier does not flatten the others."""
    made = of(*[5] * 50, *range(100), 10**9)
    bars = made.bars()
    assert sum(count for _, _, count in bars) == made.count
    assert len(bars) == 20
    assert all(end == start for (_, end, _), (start, _, _) in itertools.pairwise(bars))
    assert bars[-1][1] == 10**9
    assert of(7).bars() == [(7, 8, 1)]
    assert of().bars() == []
    assert of().record() is None


def test_values_that_are_not_counts_are_left_out() -> None:
    """Values that are not counts are ignored."""
    assert of(None, "7", True, -1, float("nan"), float("inf"), 10**400, [1], 3).count == 1


def test_memory_is_bounded() -> None:
    """Any number of values, names and causes is stored in a limited number of entries."""
    made = of(*(random.Random(2).random() * 10**9 for _ in range(20_000)))
    assert len(made._counts) < 10_000
    names: Counter[str] = Counter()
    causes = Causes()
    for number in range(2 * MOST):
        count_name(names, f"name {number}")
        causes.add(Verdict(Outcome.ERROR, f"code: {'x' * number}"), str(number))
    assert names[OTHER] == 2 * MOST - 100
    assert len(causes.most_common()) == MOST + 1
    assert causes.most_common()[0].cause == "other causes"
    assert sum(cause.count for cause in causes.most_common()) == 2 * MOST


def test_causes_that_differ_in_ids_only_are_one() -> None:
    """Causes that differ only in request ids and numbers are counted together; different codes are not."""
    causes = Causes()
    for number in range(5):
        causes.add(
            Verdict(Outcome.ERROR, f"429: slow down, req_{number}a7 in {number} s", retryable=True), f"r{number}"
        )
    causes.add(Verdict(Outcome.ERROR, "500: slow down, req_1 in 1 s"), "r9")
    causes.add(Verdict(Outcome.CUT, "cut: length"), "r10")
    first, *others = causes.most_common()
    assert (first.cause, first.count, first.samples) == ("429: slow down, req_0a7 in 0 s", 5, ["r0", "r1", "r2"])
    assert [cause.count for cause in others] == [1, 1]
    assert [cause.cause for cause in causes.most_common(Outcome.CUT)] == ["cut: length"]
