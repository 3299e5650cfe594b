"""The options that commands share for jobs: how one is started, and how to wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from .help_format import JOB, OUTPUT, SAFETY
from .options import MaxCostOpt, NameOpt, ParallelOpt, dollars, flag, option, pairs
from .output import errors

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.jobs.job_spec import JobSpec, SubmitOptions
    from openai_batch.jobs.make_requests import Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """The options of `run` and `submit` for starting a job, as typed."""

    name: NameOpt = None
    metadata: Annotated[
        list[str] | None, option("--metadata", "KEY=VALUE", "Metadata for the batch; repeatable.", JOB)
    ] = None
    window: Annotated[str | None, option("--window", "TIME", "Completion window, such as 24h.", JOB)] = None
    output_expires_after: Annotated[
        str | None,
        option("--output-expires-after", "TIME", "The provider deletes the results after 1h to 30d.", OUTPUT),
    ] = None
    again: Annotated[bool, flag("--again", "Start a new job, even if the same one exists.", SAFETY)] = False
    resubmit_uncertain: Annotated[
        bool,
        flag(
            "--resubmit-uncertain",
            "Create a batch again if it is unknown whether it was created. You may pay twice.",
            SAFETY,
        ),
    ] = False
    check_remote: Annotated[
        bool, flag("--check-remote", "First look for the same job from another machine.", SAFETY)
    ] = False
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

    timeout: Annotated[
        str | None,
        option(
            "--timeout",
            "TIME",
            "Wait at most 90s, 30m, 2h; the job keeps running. A download by `run` is not limited.",
            JOB,
        ),
    ] = None
    deadline: Annotated[
        str | None,
        option(
            "--deadline",
            "TIME",
            "Have the answers by 06:00, or in 8h: if late, cancel, and send the rest at the full price.",
            JOB,
        ),
    ] = None
    notify: Annotated[
        list[str] | None,
        option(
            "--notify",
            "TARGET",
            "When a job ends: bell, cmd:COMMAND, URL, env:NAME (see `obatch help notify`); repeatable.",
            JOB,
        ),
    ] = None
