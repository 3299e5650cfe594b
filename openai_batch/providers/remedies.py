"""What to do about an error of a provider if trying again does not help."""

from __future__ import annotations

import re

# What a provider says when trying again does not help, and what does.
_REMEDIES = (
    (
        re.compile(
            r"insufficient_quota|exceeded your current quota|(?<!account/)billing"
            r"|insufficient.{0,20}(balance|credit|fund)",
            re.IGNORECASE,
        ),
        "top up the account at the provider, or raise its limit; trying again does not help before that",
    ),
    (
        re.compile(
            r"model_not_found|\bmodel\b.{0,80}(does not exist|not found|not available|not supported|unknown)",
            re.IGNORECASE,
        ),
        "name another model with -m; the provider's documentation lists those for batches",
    ),
    (re.compile(r"^workers_failed "), "fix what ended the workers; `obatch retry` then runs the rest"),
)


def remedy(code: str | None, message: str) -> str:
    """Return what to do about a lasting error of a provider; an empty text for any other one."""
    text = f"{code or ''} {message}"
    return next((hint for pattern, hint in _REMEDIES if pattern.search(text)), "")
