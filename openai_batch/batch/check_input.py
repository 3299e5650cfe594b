"""Check a ready batch input, one that the caller made, before it is sent."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError
from openai_batch.files.lines import max_line_bytes
from openai_batch.providers.lookup import is_known, pick_provider
from openai_batch.providers.provider import Provider
from openai_batch.requests.check import check_stream
from openai_batch.requests.check_report import problem_lines
from openai_batch.requests.limits import NO_LIMITS, Limits

from .warn import warn

if TYPE_CHECKING:
    from openai_batch.requests.check_report import CheckReport

    from .input_file import InputFile


def check_ready_input(input_file: InputFile, provider: Provider | None) -> tuple[CheckReport, Provider | None]:
    """Check every line, and return the report and the provider.

    The format is checked, and those limits of the provider that are known. The provider is `provider`, else the
    configured one, else the one that serves the first line's model. Gives a warning for what is unusual but allowed.
    Raises InputError with every problem, as `file:line: what: remedy`.
    """
    with input_file.reading() as stream:
        if provider is None and (model := _first_model(stream)) is not None:
            provider = pick_provider(None, model)
        stream.seek(0)
        report = check_stream(stream, _limits_of(provider) if provider else Limits())
    if not report.ok:
        first, *rest = problem_lines(input_file.label, report.errors, report.problem_count)
        raise InputError(first, hint="nothing was sent", details=rest, problems=report.errors)
    for problem in report.problems:
        warn(problem.located(input_file.label))
    return report, provider


def _limits_of(provider: Provider) -> Limits:
    """Return a provider's limits; if a program made it, only those that differ from the defaults."""
    limits = provider.limits
    if is_known(provider):
        return limits
    unsaid = Provider().limits
    names = [item.name for item in fields(Limits) if getattr(limits, item.name) == getattr(unsaid, item.name)]
    return replace(limits, **{name: getattr(NO_LIMITS, name) for name in names})


def _first_model(stream: Any) -> str | None:
    """Return the model of the first line, or None if it has none."""
    try:
        model = msgspec.json.decode(stream.readline(max_line_bytes()).removeprefix(BOM_UTF8))["body"]["model"]
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError, RecursionError):
        return None
    return model if isinstance(model, str) else None
