"""The options that commands share for jobs: how one is started, and how to wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .options import (
    AgainOpt,
    DeadlineOpt,
    ExpiryOpt,
    MaxCostOpt,
    MetadataOpt,
    NameOpt,
    NotifyOpt,
    ParallelOpt,
    RemoteOpt,
    TimeoutOpt,
    UncertainOpt,
    WindowOpt,
    dollars,
    pairs,
)
from .output import errors

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.jobs.job_spec import JobSpec, SubmitOptions
    from openai_batch.jobs.make_requests import Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """The options of `run` and `submit` for starting a job, as typed."""

    name: NameOpt = None
    metadata: MetadataOpt = None
    window: WindowOpt = None
    output_expires_after: ExpiryOpt = None
    again: AgainOpt = False
    resubmit_uncertain: UncertainOpt = False
    check_remote: RemoteOpt = False
    parallel: ParallelOpt = None
    max_cost: MaxCostOpt = None

    def __post_init__(self) -> None:
        """Check what was typed before the input is read. Raises UsageError."""
        dollars(self.max_cost)

    def spec(self, requests: Requests, folder: Path, **more: Any) -> JobSpec:
        """Check a batch file and return the spec of its job; warnings are printed. Raises InputError, UsageError."""
        from openai_batch.jobs.job_spec import make_spec

        return make_spec(
            requests.source,
            folder,
            requests.provider,
            name=self.name,
            metadata=pairs(self.metadata, "--metadata"),
            window=self.window,
            output_expires_after=self.output_expires_after,
            columns=requests.columns,
            on_warning=errors.note,
            **more,
        )

    def submit_options(self, *, dedup: bool = False, **more: Any) -> SubmitOptions:
        """Return the submit options of the library: these, and `more`."""
        from openai_batch.jobs.job_spec import SubmitOptions

        return SubmitOptions(
            dedup=dedup,
            again=self.again,
            resubmit_uncertain=self.resubmit_uncertain,
            check_remote=self.check_remote,
            max_cost=dollars(self.max_cost),
            **more,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOptions:
    """The options of `run` and `wait` for waiting, as typed."""

    timeout: TimeoutOpt = None
    deadline: DeadlineOpt = None
    notify: NotifyOpt = None
