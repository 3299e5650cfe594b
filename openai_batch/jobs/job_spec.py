"""What a user wants done, and the hash that makes the same spec the same job."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.providers.lookup import pick_provider
from openai_batch.providers.provider import Provider, normal_url
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.source import first_model

from .store.records import EarlierJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from openai_batch.requests.batch_file import BatchFile
    from openai_batch.requests.source import Source

    from .store.reused_answers import SubmitPlan


@dataclass(frozen=True)
class JobSpec:
    """What a user wants done: a batch_file input on a provider, under a name and with metadata if given.

    `input_name` tells what the input was named. `dedup` says whether identical requests are sent once, where a user has
    said; `submit_plan` what came of that, and of what the `earlier` jobs have answered (`jobs/reuse`).
    """

    batch_file: BatchFile
    provider: Provider
    window: str | None = None
    name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    input_name: str | None = None
    dedup: bool | None = None
    submit_plan: SubmitPlan | None = None
    earlier: EarlierJobs = field(default_factory=EarlierJobs)

    @property
    def identity(self) -> str:
        """The hash that makes the same spec the same job: where it runs, as what, and every byte of the input."""
        facts = [
            normal_url(str(self.provider.base_url)),
            self.batch_file.report.endpoint,
            self.window or self.provider.completion_window,
            sorted(self.metadata.items()),
            self.batch_file.sha256,
            *([] if self.dedup is None else ["once" if self.dedup else "each"]),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def make_spec(
    source: Source,
    folder: Path,
    provider: str | Provider | None = None,
    *,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    window: str | None = None,
    input_name: str | None = None,
    dedup: bool | None = None,
    columns: Path | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> JobSpec:
    """Check a batch file for its provider, and return the spec to run it. `folder` is for work.

    Without `provider` the default one is taken, else the one that serves the first model. `columns` is the file with
    the rows that the requests were made of. `on_warning` is called with each warning of the check. Raises InputError
    with every problem, and UnknownProviderError.
    """
    chosen = provider_for(source, provider)
    batch_file = replace(check_file(source, chosen.limits, folder), columns=columns)
    if on_warning is not None:
        for problem in batch_file.report.problems:
            on_warning(problem.located(source.name))
    return JobSpec(batch_file, chosen, window, name, dict(metadata or {}), input_name, dedup)


def provider_for(source: Source, provider: str | Provider | None) -> Provider:
    """Return the provider of that name, or the default one, or the one that serves the first model of a batch file."""
    if isinstance(provider, Provider):
        return provider
    # A file whose first line names no model is refused by the check, whichever provider's limits it uses.
    return pick_provider(provider, first_model(source) or "gpt")


def name_of_input(
    files: Sequence[str], *, table: str | None = None, sql: str | None = None, output: Path | None = None
) -> str | None:
    """Return the text that identifies an input on another day, when it may have grown: the names of its files.

    Standard input has no name: there the output's path identifies it, and None is returned if there is none.
    """
    if "-" in files:
        return None if output is None else f"-> {output.absolute()}"
    paths = [str(Path(file).expanduser().absolute()) for file in files]
    return json.dumps([*paths, *(word for word in (table, sql) if word)]) if paths else f"{Path.cwd()}: {sql}"
