"""Read time spans, as options, profiles and programs give them."""

from __future__ import annotations

import re

from openai_batch.errors import UsageError

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str | None) -> float | None:
    """Read a time span such as 90s, 30m, 12h or 2d; a bare number is seconds. Raises UsageError."""
    if text is None:
        return None
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a time span", hint="write it like 90s, 30m, 12h or 2d")
    return float(match[1]) * _SECONDS[match[2]]
