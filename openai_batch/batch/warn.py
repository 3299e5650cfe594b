"""Warn in the name of the caller's own line, however deep in the package the reason is found."""

from __future__ import annotations

import sys
import warnings

_INSIDE = (__name__.partition(".")[0], "contextlib")
"""Modules to skip: this package, and what calls it at the end of a `with` block."""


def warn(text: str) -> None:
    """Give a UserWarning that points at the first line outside this package."""
    level = 2
    frame = sys._getframe(1)  # noqa: SLF001 - what the warnings module itself goes by
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _INSIDE:
        frame = frame.f_back
        level += 1
    warnings.warn(text, stacklevel=level)
