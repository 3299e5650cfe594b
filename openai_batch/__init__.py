"""Batch inference: from a file of prompts to one checked file of answers.

    from openai_batch import Batch

The public names are imported when they are first asked for, so `import openai_batch` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors
from .errors import *  # noqa: F403 - the error tree is public as it stands

if TYPE_CHECKING:
    from ._follow import wait
    from ._images import data_url
    from ._job import Job
    from .batch import Batch, BatchType
    from .jobs import Jobs, Result
    from .providers import (
        Provider,
        get_provider_by_base_url,
        get_provider_by_model,
        get_provider_by_name,
    )

    __version__: str

_HOMES = {
    "Batch": "batch",
    "BatchType": "batch",
    "Job": "_job",
    "Jobs": "jobs",
    "Provider": "providers",
    "Result": "jobs",
    "data_url": "_images",
    "get_provider_by_base_url": "providers",
    "get_provider_by_model": "providers",
    "get_provider_by_name": "providers",
    "wait": "_follow",
}
_MODULES = ("batch", "jobs", "providers")

__all__ = [  # noqa: PLE0604 - the errors' names are strings too
    "Batch",
    "BatchType",
    "Job",
    "Jobs",
    "Provider",
    "Result",
    "__version__",
    "data_url",
    "get_provider_by_base_url",
    "get_provider_by_model",
    "get_provider_by_name",
    "wait",
    *errors.__all__,
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    elif name in _MODULES:
        return import_module(f".{name}", __name__)
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__, *_MODULES})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("openai-batch")
    except PackageNotFoundError:
        return "unknown"
