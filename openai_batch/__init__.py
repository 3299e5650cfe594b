"""Batch inference: from a file of prompts to one checked file of answers.

    from openai_batch import Batch

Each public name is imported when it is first used, so that `import openai_batch` is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from ._lazy import lazy_names
from .errors import *  # noqa: F403 - every error is public

if TYPE_CHECKING:
    from .batch.batch import Batch
    from .batch.wait import wait
    from .inputs.data_url import data_url
    from .jobs.job import Job
    from .jobs.jobs import Jobs
    from .providers.lookup import get_provider_by_base_url, get_provider_by_model, get_provider_by_name
    from .providers.provider import Provider
    from .requests.endpoints import BatchType
    from .results.outcome import Outcome
    from .results.result import Result

    __version__: str

_MODULE_OF = {
    "Batch": "batch.batch",
    "BatchType": "requests.endpoints",
    "Job": "jobs.job",
    "Jobs": "jobs.jobs",
    "Provider": "providers.provider",
    "Outcome": "results.outcome",
    "Result": "results.result",
    "data_url": "inputs.data_url",
    "get_provider_by_base_url": "providers.lookup",
    "get_provider_by_model": "providers.lookup",
    "get_provider_by_name": "providers.lookup",
    "wait": "batch.wait",
}
_SUBPACKAGES = ("batch", "jobs", "providers")

__all__ = [  # noqa: PLE0604 - the errors' names are strings too
    "Batch",
    "BatchType",
    "Job",
    "Jobs",
    "Outcome",
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

_get, __dir__ = lazy_names(__name__, _MODULE_OF, (*__all__, *_SUBPACKAGES))


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _SUBPACKAGES:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    if name == "__version__":
        return _version()
    return _get(name)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("openai-batch")
    except PackageNotFoundError:
        return "unknown"
