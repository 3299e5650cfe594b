"""Check the types of arguments that are often wrong, before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime

from openai_batch.errors import UsageError
from openai_batch.providers.provider import Provider

from .reporter import Reporter

_NUMBERS = (int, (int, float))
_KINDS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(
        ("prompt", "model", "system", "endpoint", "id", "name", "window", "prefix", "output_expires_after"),
        ("a text", str),
    ),
    **dict.fromkeys(("params", "metadata"), ("a dict", Mapping)),
    **dict.fromkeys(("sample", "retries", "limit", "count"), ("a whole number", int)),
    **dict.fromkeys(
        ("again", "dedup", "reuse", "resubmit_uncertain", "check_remote", "skip_empty", "progress"),
        ("True or False", (bool, int)),
    ),
    "images": ("the name of a column, or a list of them", (str, list, tuple)),
    "timeout": ("a number of seconds", (int, float)),
    "provider": ("the name of a provider, or a Provider", (str, Provider)),
    "reporter": ("an object of a subclass of openai_batch.Reporter", Reporter),
    "state": ("the path of a folder", (str, os.PathLike)),
    "deadline": ("a datetime", datetime),
}
"""The type of each argument, by its name. An argument may be None."""


def check_arguments(given: Mapping[str, object]) -> None:
    """Raise UsageError for a value of a wrong type. Other arguments are not checked."""
    for name, value in given.items():
        wanted, kinds = _KINDS.get(name, ("", object))
        wrong = not isinstance(value, kinds) or (kinds in _NUMBERS and isinstance(value, bool))
        if value is not None and (wrong or (isinstance(value, int | float) and not value >= 0)):  # or not a number
            raise UsageError(f"{name}= is {value!r}; nothing was sent", hint=f"give {wanted}")
