"""Give a warning that points at the user's own line of code, not at a line of this package."""

from __future__ import annotations

import sys
import warnings

from openai_batch.escapes import escape_newlines

_INSIDE = (__name__.partition(".")[0], "contextlib")
"""Modules to skip: this package, and the module that calls it at the end of a `with` block."""


def warn(text: str) -> None:
    """Give a UserWarning that points at the first caller outside this package."""
    level = 2
    frame = sys._getframe(1)  # noqa: SLF001 - the warnings module does the same
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _INSIDE:
        frame = frame.f_back
        level += 1
    warnings.warn(escape_newlines(text), stacklevel=level)
