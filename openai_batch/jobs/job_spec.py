"""What a user asks for (`JobSpec`), the hash by which the same spec is the same job, and how it is submitted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from openai_batch.errors import UsageError
from openai_batch.providers.lookup import pick_provider
from openai_batch.providers.marks import check_metadata
from openai_batch.providers.provider import Provider, normal_url, output_seconds
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.source import first_model

from .store.records import EarlierJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal
    from pathlib import Path

    from openai_batch.files.stored_file import Target
    from openai_batch.requests.batch_file import BatchFile
    from openai_batch.requests.source import Source

    from .store.reused_answers import SubmitPlan


_NUMBER_DIGITS = 7  # no machine has more jobs, so that a longer number, such as a date, is a name


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """How a job is submitted."""

    dedup: bool = False  # send identical requests once
    reuse: bool = False  # send only the rows that no earlier job of the same input, or of the same output, has answered
    again: bool = False  # start a new job even if the same one was started before
    # The file that the results will be written to, if it is known. It is checked before anything is paid.
    output: Target | None = None
    missing: Target | None = None  # the file that failed requests will be written to. It is checked at the same time.
    force: bool = False  # replace these files if they exist
    # How many seconds to wait for an earlier job that runs rows of this input; None: until it ends.
    timeout: float | None = None
    # If it is unknown whether a batch was created, send it again. It may be paid twice.
    resubmit_uncertain: bool = False
    # What is stored of the output, for later downloads: its path, its form, and the options of the form.
    output_form: dict[str, Any] | None = None
    check_remote: bool = False  # first look for batches of this job that another machine has started
    # The most that the job may cost, in USD, its retries included; None: that is not limited, or as it was before.
    max_cost: Decimal | None = None
    # Allow only what costs no more even outside of a batch, since a deadline may need that (`jobs/deadline`).
    full_price: bool = False


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
    check_name(name)
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


def check_name(name: str | None) -> None:
    """Raise UsageError if other commands could not find a job by this name: it is blank, or the number of a job."""
    if name is None:
        return
    if not name.strip():
        raise UsageError("the name of a job cannot be blank", hint="give it another --name")
    if name.isascii() and name.isdigit() and len(name) <= _NUMBER_DIGITS:
        raise UsageError(f"{name} would be taken for the number of a job", hint="give it another --name, with letters")


def provider_for(source: Source, provider: str | Provider | None) -> Provider:
    """Return the provider of that name; without one the default provider, or the one that serves the first model.

    Raises UnknownProviderError.
    """
    if isinstance(provider, Provider):
        return provider
    # A file whose first line names no model fails the check with the limits of any provider.
    return pick_provider(provider, first_model(source) or "gpt")
