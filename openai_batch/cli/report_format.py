"""How a report is printed: labels and texts, and on a terminal histograms."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from openai_batch.errors import count_text
from openai_batch.report.texts import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_batch.report.report import Report
    from openai_batch.results.distribution import Distribution
    from openai_batch.results.statistics import Statistics
    from openai_batch.results.tally import Tally

_BARS = 8
_WIDTH = 24
_CAUSES = 20


def report_lines(report: Report, *, terminal: bool) -> list[tuple[str, str]]:
    """Return the lines of a report, as labels and texts; on a terminal with histograms."""
    lines = report.lines(local=terminal)
    if terminal:
        lines += histograms(report.statistics)
        lines += _histogram("answered after", report.statistics.answered_after, duration_text)
    return [*lines, *cause_lines(report.tally), *(("error", fault) for fault in report.faults)]


def cause_lines(tally: Tally) -> list[tuple[str, str]]:
    """Return a line for each cause of failures: how they ended, how many there are, why, and a few ids."""
    causes = tally.causes.most_common()
    lines = []
    for cause in causes[:_CAUSES]:
        samples = f" ({', '.join(cause.samples)})" if cause.samples else ""
        lines.append((str(cause.outcome), f"{count_text(cause.count, 'request')}: {cause.cause}{samples}"))
    more = len(causes) - _CAUSES
    return lines + ([("", f"… and {count_text(more, 'cause')} more")] if more > 0 else [])


def histograms(statistics: Statistics) -> list[tuple[str, str]]:
    """Return the lines of the histograms of tokens and lengths."""
    return [
        *_histogram("tokens in", statistics.prompt_tokens),
        *_histogram("tokens out", statistics.completion_tokens),
    ]


def _range(start: float, end: float, text: Callable[[float], str] | None) -> str:
    """Return where a bar begins and ends; of whole numbers (no `text`), the first and the last one in it."""
    if text is not None:
        return f"{text(start)} - {text(end)}"
    return f"{start:,.0f}" if end - start == 1 else f"{start:,.0f} - {end - 1:,.0f}"


def _histogram(
    label: str, numbers: Distribution, text: Callable[[float], str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield a line for each bar; the label is next to the first one."""
    bars = numbers.bars(_BARS)
    if len(bars) < 2:  # noqa: PLR2004 - one bar shows nothing
        return
    mark = "█" if sys.stdout.encoding.lower().startswith("utf") else "#"
    longest = max(count for _, _, count in bars)
    ranges = [_range(start, end, text) for start, end, _ in bars]
    if text is None and bars[-1][1] == numbers.most:  # the last bar includes its end
        ranges[-1] = _range(bars[-1][0], bars[-1][1] + 1, text)
    width = max(map(len, ranges))
    for place, (_, _, count) in enumerate(bars):
        bar = mark * max(round(_WIDTH * count / longest), count > 0)
        yield label if place == 0 else "", f"{ranges[place]:>{width}}  {bar} {count:,}"
