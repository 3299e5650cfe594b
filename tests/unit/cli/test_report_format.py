"""The histograms of a report on a terminal."""

from __future__ import annotations

import pytest

from openai_batch.cli.report_format import histograms
from openai_batch.results.statistics import Statistics


@pytest.mark.parametrize(
    ("values", "ranges"),
    [
        ([36, 36, 39, 40], ["36", "37", "38", "39", "40"]),
        ([*range(1, 10)], ["1", "2", "3", "4", "5", "6", "7", "8 - 9"]),
        ([0, 120, 257], ["0 - 49", "50 - 99", "100 - 149", "150 - 199", "200 - 249", "250 - 299"]),
        ([7, 7], []),
    ],
)
def test_each_bar_names_the_whole_numbers_in_it(values: list[int], ranges: list[str]) -> None:
    """The ranges of the bars do not overlap, and a bar for one number shows only that number."""
    statistics = Statistics()
    for value in values:
        statistics.prompt_tokens.add(value)
    lines = [text for _, text in histograms(statistics)]
    assert [line.strip().partition("  ")[0] for line in lines] == ranges
    assert sum(int(line.split()[-1]) for line in lines) == (len(values) if ranges else 0)
