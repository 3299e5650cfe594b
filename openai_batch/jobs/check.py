"""Check a batch file against a provider's limits. Nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from openai_batch.errors import Problem
from openai_batch.requests.check import check_stream, over_limits
from openai_batch.requests.check_report import CheckReport
from openai_batch.requests.source import looks_like_requests, not_requests, open_source

from .job_spec import provider_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.providers.provider import Provider
    from openai_batch.requests.limits import Limits


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of checking one file."""

    name: str  # the name of the file in messages
    provider: Provider  # the provider whose limits were used
    report: CheckReport  # the facts about the file, and its problems
    is_requests: bool  # whether its first line looks like a request, not like a prompt
    splits: bool = False  # whether it has more than one batch may have, so that a job splits it


def check_input(name: str, provider: str | Provider | None = None) -> CheckResult:
    """Check every line of a batch file; `-` is standard input.

    Without `provider` the default provider is used, else the one that serves the first model. A file with more than
    one batch can have gets a warning, since a job splits it. Raises InputError if the file cannot be read, and
    UnknownProviderError.
    """
    with TemporaryDirectory(prefix="obatch-") as folder:
        source = open_source(name, Path(folder))
        chosen = provider_for(source, provider)
        if not looks_like_requests(source):
            report = CheckReport(problems=[not_requests(source)], problem_count=1)
            return CheckResult(source.name, chosen, report, is_requests=False)
        with source.path.open("rb") as handle:
            report = check_stream(handle, chosen.limits.of_lines())
    warnings = list(_splits(report, chosen.limits)) if report.ok else []
    report.problems += warnings
    report.warning_count += len(warnings)
    return CheckResult(source.name, chosen, report, is_requests=True, splits=bool(warnings))


def _splits(report: CheckReport, limits: Limits) -> Iterator[Problem]:
    """Yield a warning for each reason why a job will have more than one batch."""
    reasons = list(over_limits(report, limits))
    if limits.one_model and len(report.models) > 1:
        reasons.append(("model_mismatch", f"{len(report.models):,} models; the provider accepts one per file"))
    for code, message in reasons:
        yield Problem(None, code, message, None, "`obatch run` and `submit` split the file", warning=True)
