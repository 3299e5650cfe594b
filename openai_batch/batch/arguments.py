"""Check the arguments of a `Batch` that would raise errors from somewhere inside, perhaps after something was paid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_batch.errors import UsageError
from openai_batch.providers.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_GIVEN: Any = ...
"""The default of `timeout`: the client's own timeout. None means no timeout."""


def check_provider(provider: object) -> None:
    """Raise UsageError for another type than that of a provider or of its name."""
    if provider is not None and not isinstance(provider, str | Provider):
        raise UsageError(f"provider= is {provider!r}", hint="give the name of a provider, or a Provider")


def check_interval(interval: object) -> None:
    """Raise UsageError for an interval that is not a number of seconds."""
    if not isinstance(interval, int | float):
        raise UsageError(f"interval= is {interval!r}; nothing was sent", hint="give a number of seconds")


def check_not_folders(*targets: object) -> None:
    """Raise UsageError if one of the places for results is the path of a folder. An open file has no path."""
    for target in targets:
        if isinstance(target, str | os.PathLike) and Path(target).is_dir():
            raise UsageError(f"{os.fspath(target)} is a folder, not a file", hint="name a file in it")


def checked_metadata(metadata: Any) -> Mapping[str, str]:
    """Return the metadata as a dict. Raises UsageError if it cannot be one, or has half of a surrogate pair."""
    try:
        made = dict(metadata or {})
        for text in (*made, *made.values()):
            str(text).encode()
    except (TypeError, ValueError):
        raise UsageError(f"metadata= is {metadata!r}; nothing was sent", hint="give a dict of texts") from None
    return made


def client_options(extra_headers: Any, extra_query: Any, extra_body: Any, timeout: Any) -> dict[str, Any]:
    """Return the arguments that the client gets. Raises UsageError for a timeout that cannot pass."""
    given = {"extra_headers": extra_headers, "extra_query": extra_query, "extra_body": extra_body}
    options = {name: value for name, value in given.items() if value is not None}
    if isinstance(timeout, str) or (isinstance(timeout, int | float) and not timeout >= 0):
        raise UsageError(f"timeout= is {timeout!r}", hint="give a number of seconds, or None")
    return options if timeout is NOT_GIVEN else options | {"timeout": timeout}
