"""Numbers and times as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_batch.results.distribution import Distribution

UNKNOWN = "unknown"


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units, such as `2 h 05 min`."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


def iso_time(seconds: float | None) -> str | None:
    """Return Unix seconds as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def local_time(seconds: float) -> str:
    """Return Unix seconds on this machine's clock, as people read it, such as `26 Nov 12:00:00`."""
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%d %b %H:%M:%S}"


def numbers_text(numbers: Distribution, *, total: bool = True) -> str:
    """Return a distribution of whole numbers in a few words."""
    if not numbers.count:
        return UNKNOWN
    middle, most = numbers.quantile(0.5), numbers.quantile(0.95)
    words = f"median {middle:,.0f}, 95% up to {most:,.0f}, at most {numbers.most:,.0f}"
    return f"{numbers.total:,.0f}; {words}" if total else words


def durations_text(numbers: Distribution) -> str:
    """Return a distribution of seconds in a few words."""
    if not numbers.count:
        return UNKNOWN
    middle, most, last = (duration_text(each) for each in (numbers.quantile(0.5), numbers.quantile(0.95), numbers.most))
    return f"median {middle}, 95% within {most}, the last after {last}"
