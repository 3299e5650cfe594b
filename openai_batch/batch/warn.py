"""Give a warning that points at the user's own line of code, not at a line of this package."""

from __future__ import annotations

import sys
import warnings
from urllib.parse import urlsplit

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


def warn_of_unsent_key(variable: str, base_url: str | None) -> None:
    """Give a warning that a key is set and not sent to a base URL, and say how to send one there."""
    warn(
        f"{variable} is not sent to {urlsplit(base_url or '').netloc}, which is not known to be its host; "
        f"to send a key there, give it as api_key, or name its variable in api_key_env_var (in a command: --api-key)"
    )
