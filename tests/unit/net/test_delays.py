"""The delays between retries, and the delay that a server asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import islice

import pytest

from openai_batch.net.delays import MAX_RETRY_AFTER, delays, retry_after


def test_delays_grow_to_the_longest() -> None:
    """Each delay is a multiple of the one before, up to the longest."""
    assert list(islice(delays(0.5, longest=3), 5)) == [0.5, 1, 2, 3, 3]
    assert list(islice(delays(1, growth=1.5), 3)) == [1, 1.5, 2.25]
    assert list(islice(delays(9, longest=3), 2)) == [3, 3]
    assert list(islice(delays(0), 2)) == [0, 0]


def test_delays_are_spread() -> None:
    """Each delay is random within its bounds, and the random part does not grow."""
    found = list(islice(delays(1, growth=1, spread=(1.0, 1.25)), 100))
    assert all(1 <= delay <= 1.25 for delay in found)
    assert len(set(found)) > 90


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "3600"}, 3600),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": ""}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Mon, 23 Nov 2020 10:00:00 GMT"}, None),
        ({"retry-after": "Mon, 23 Nov 99999 10:00:00 GMT"}, None),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_with_care(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds are read; past, infinite or invalid values are ignored."""
    assert retry_after(headers) == seconds


def test_retry_after_takes_a_date() -> None:
    """A date in the future is converted to the seconds until then."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    asked = retry_after({"retry-after": soon})
    assert asked is not None
    assert 590 < asked <= 600


@pytest.mark.parametrize("value", ["Fri, 31 Dec 9999 23:59:59 GMT", "3601", "1e300", "9" * 400])
def test_no_server_asks_for_more_than_an_hour(value: str) -> None:
    """A delay that a server asks for is one hour at most."""
    assert retry_after({"retry-after": value}) in (MAX_RETRY_AFTER, None)
