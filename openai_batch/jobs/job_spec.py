"""What a user asks for (`JobSpec`), and the hash by which the same spec is the same job."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError
from openai_batch.providers.lookup import pick_provider
from openai_batch.providers.marks import check_metadata
from openai_batch.providers.provider import Provider, normal_url, output_seconds
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.source import first_model

from .store.records import EarlierJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from openai_batch.requests.batch_file import BatchFile
    from openai_batch.requests.source import Source

    from .store.reused_answers import SubmitPlan


@dataclass(frozen=True)
class JobSpec:
    """What a user asks for: to run a checked batch file on a provider."""

    batch_file: BatchFile
    provider: Provider
    window: str | None = None  # the completion window, such as "24h"; None for the provider's own
    output_expires_after: str | None = None  # how long the provider keeps results; None for what the profile says
    name: str | None = None  # a name for the job
    metadata: dict[str, str] = field(default_factory=dict)  # the user's own, for each batch
    input_name: str | None = None  # what the user named as the input (`name_of_input`)
    dedup: bool | None = None  # whether identical requests are sent once; None if the user did not say
    submit_plan: SubmitPlan | None = None  # the rows that are not sent (`jobs/reuse`); None before it is planned
    earlier: EarlierJobs = field(default_factory=EarlierJobs)  # the jobs that share rows with it

    @property
    def output_seconds(self) -> int | None:
        """For how many seconds the provider keeps the results; None for its own time. Raises UsageError."""
        return output_seconds(self.output_expires_after) or self.provider.output_seconds

    @property
    def identity(self) -> str:
        """The hash by which the same spec is the same job of an account: of the options and every byte of the input.

        It is 32 hexadecimal digits.
        """
        facts = [
            normal_url(str(self.provider.base_url)),
            self.batch_file.report.endpoint,
            self.window or self.provider.completion_window,
            sorted(self.metadata.items()),
            self.batch_file.sha256,
            *([] if self.dedup is None else ["once" if self.dedup else "each"]),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def make_spec(
    source: Source,
    folder: Path,
    provider: str | Provider | None = None,
    *,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    window: str | None = None,
    output_expires_after: str | None = None,
    input_name: str | None = None,
    dedup: bool | None = None,
    columns: Path | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> JobSpec:
    """Check a batch file for its provider, and return the spec to run it. `folder` is a work folder.

    Without `provider` the default provider is used, else the one that serves the first model. `columns` is the file
    with the rows that the requests were made from. `on_warning` is called with each warning of the check. Raises
    InputError with every problem, UsageError for too much metadata or a wrong time, and UnknownProviderError.
    """
    check_metadata(metadata or {})
    output_seconds(output_expires_after)
    chosen = provider_for(source, provider)
    chosen.check_metadata(metadata or {})
    if output_expires_after is not None and chosen.shards is not None:
        hint = "leave the time out; `obatch prune --remote` deletes results there"
        raise UsageError(f"{chosen} keeps files of results until they are deleted", hint=hint)
    batch_file = replace(check_file(source, chosen.limits, folder), columns=columns)
    if on_warning is not None:
        for problem in batch_file.report.problems:
            on_warning(problem.located(source.name))
    return JobSpec(
        batch_file, chosen, window, output_expires_after, name, dict(metadata or {}), input_name=input_name, dedup=dedup
    )


def provider_for(source: Source, provider: str | Provider | None) -> Provider:
    """Return the provider of that name; without one the default provider, or the one that serves the first model.

    Raises UnknownProviderError.
    """
    if isinstance(provider, Provider):
        return provider
    # A file whose first line names no model fails the check with the limits of any provider.
    return pick_provider(provider, first_model(source) or "gpt")
