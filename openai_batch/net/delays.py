"""How long to wait before the next try: delays that grow, and the delay that a server asks for."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


MAX_RETRY_AFTER = 3600.0  # the longest delay that a server's Retry-After can set, in seconds


def delays(
    first: float, *, growth: float = 2.0, longest: float = math.inf, spread: tuple[float, float] = (1.0, 1.0)
) -> Iterator[float]:
    """Yield the seconds to wait before each next try, without end: `first`, then `growth` times the one before.

    No delay is longer than `longest` seconds. Then each is multiplied by a random number from the range `spread`, so
    that many clients do not try at the same moment. Call this again to start from `first` again.
    """
    delay = first
    while True:
        yield min(delay, longest) * random.uniform(*spread)  # noqa: S311 - not for secrets
        delay = min(delay * growth, longest)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait, from `retry-after-ms` or `retry-after` (seconds or a date).

    It is at most MAX_RETRY_AFTER. Return None if there is no such header, or if it is in the past, infinite, or not a
    time. Names are looked up in `headers` in lower case.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            seconds = float(text) * scale
        except ValueError:
            seconds = _seconds_until(text)
        if 0 <= seconds < math.inf:
            return min(seconds, MAX_RETRY_AFTER)
    return None


def _seconds_until(date: str) -> float:
    """Return the seconds from now to a date in the format of HTTP headers; -inf if it is not a date."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError, OSError):
        return -math.inf
