"""Check the types of arguments that are often wrong, before anything is sent."""

from __future__ import annotations

import math
import os
import sys
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
    "reference": ("a name, a number or a batch id", (str, int)),
    **dict.fromkeys(("params", "metadata"), ("a dict", Mapping)),
    **dict.fromkeys(("sample", "retries", "limit", "count"), ("a whole number (int)", int)),
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

_STORED = ("name", "reference", "window")  # texts that are stored, or compared with what is stored


def check_arguments(given: Mapping[str, object]) -> None:
    """Raise UsageError for a value of a wrong type. Other arguments are not checked."""
    for name, value in given.items():
        wanted, kinds = _KINDS.get(name, ("", object))
        wrong = not isinstance(value, kinds) or not _is_usable(value, kinds)
        if value is not None and wanted and (wrong or (name in _STORED and is_cut_text(value))):
            raise UsageError(f"{name}= is {value!r}; nothing was sent", hint=f"give {wanted}")


def _is_usable(value: object, kinds: object) -> bool:
    """Return whether a value of the right type can be used: a number may be negative, NaN or too large."""
    if not isinstance(value, int | float):
        return True
    most = sys.maxsize if kinds is int else math.inf
    return 0 <= value <= most and not (kinds in _NUMBERS and isinstance(value, bool))


def is_cut_text(value: object) -> bool:
    """Return whether this is a text with half of a surrogate pair, which is not a character."""
    return isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value)
