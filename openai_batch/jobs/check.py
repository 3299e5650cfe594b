"""Check a batch file against a provider's limits. Nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from openai_batch.requests.check import check_stream
from openai_batch.requests.source import looks_like_requests, open_source

from .job_spec import provider_for

if TYPE_CHECKING:
    from openai_batch.providers.provider import Provider
    from openai_batch.requests.report import Report


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of checking one file."""

    # The name of the file in messages.
    name: str
    # The provider whose limits were used.
    provider: Provider
    # The facts about the file, and its problems.
    report: Report
    # Whether its first line looks like a request, not like a prompt.
    is_requests: bool


def check_input(name: str, provider: str | Provider | None = None) -> CheckResult:
    """Check every line of a batch file; `-` is standard input.

    Without `provider` the default provider is used, else the one that serves the first model. Raises InputError if the
    file cannot be read, and UnknownProviderError.
    """
    with TemporaryDirectory(prefix="obatch-") as folder:
        source = open_source(name, Path(folder))
        chosen = provider_for(source, provider)
        with source.path.open("rb") as handle:
            return CheckResult(source.name, chosen, check_stream(handle, chosen.limits), looks_like_requests(source))
