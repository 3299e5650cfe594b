"""Batch inference: from rows or a file of prompts to checked answers.

    import openai_batch

    labelled = openai_batch.map(frame, "Label this review: {{ text }}", model="gpt-4o-mini")

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
    from .frames.map import embed, embed_async, map_async
    from .frames.map import map as map  # noqa: A004 - public, but not in `__all__`
    from .frames.run import Run
    from .frames.start import attach, attach_async, start, start_async
    from .inputs.data_url import data_url
    from .jobs.job import Job
    from .jobs.jobs import Jobs
    from .jobs.reporter import Reporter
    from .providers.lookup import get_provider_by_base_url, get_provider_by_model, get_provider_by_name
    from .providers.provider import Provider
    from .report.report import Report
    from .requests.endpoints import BatchType
    from .results.outcome import Outcome
    from .results.result import Result
    from .version import __version__

_MODULE_OF = {
    "__version__": "version",
    "Batch": "batch.batch",
    "BatchType": "requests.endpoints",
    "Job": "jobs.job",
    "Jobs": "jobs.jobs",
    "Provider": "providers.provider",
    "Outcome": "results.outcome",
    "Report": "report.report",
    "Reporter": "jobs.reporter",
    "Result": "results.result",
    "Run": "frames.run",
    "attach": "frames.start",
    "attach_async": "frames.start",
    "data_url": "inputs.data_url",
    "embed": "frames.map",
    "embed_async": "frames.map",
    "get_provider_by_base_url": "providers.lookup",
    "get_provider_by_model": "providers.lookup",
    "get_provider_by_name": "providers.lookup",
    "map": "frames.map",
    "map_async": "frames.map",
    "start": "frames.start",
    "start_async": "frames.start",
    "wait": "batch.wait",
}
_SUBPACKAGES = ("batch", "jobs", "providers")

# `map` is left out: a star import must not hide the builtin.
__all__ = [  # noqa: PLE0604 - the errors' names are strings too
    "Batch",
    "BatchType",
    "Job",
    "Jobs",
    "Outcome",
    "Provider",
    "Report",
    "Reporter",
    "Result",
    "Run",
    "__version__",
    "attach",
    "attach_async",
    "data_url",
    "embed",
    "embed_async",
    "get_provider_by_base_url",
    "get_provider_by_model",
    "get_provider_by_name",
    "map_async",
    "start",
    "start_async",
    "wait",
    *errors.__all__,
]

_get, __dir__ = lazy_names(__name__, _MODULE_OF, (*__all__, *_SUBPACKAGES))


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _SUBPACKAGES:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    return _get(name)
