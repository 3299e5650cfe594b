"""`obatch ls`: list the jobs of the registry. No provider is asked, unless with --watch or --remote.

The columns of the table, of the pipe and of `--json` are in `cli/job_format.py`.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

from openai_batch.cli.help_format import examples
from openai_batch.cli.job_format import list_jobs, show_jobs
from openai_batch.cli.options import JsonOpt, ProviderOpt, QuietOpt, flag, option
from openai_batch.cli.output import Output, errors
from openai_batch.cli.session import session
from openai_batch.errors import AuthError, BatchError, UsageError, count_text
from openai_batch.files.typed_table import suggest
from openai_batch.net.time_span import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_batch.jobs.remote_batches import RemoteBatch
    from openai_batch.jobs.store.records import JobRecord, ListedJob
    from openai_batch.jobs.store.registry import Registry

_Job = TypeVar("_Job", bound="ListedJob")

EPILOG = examples(
    "obatch ls",
    "obatch ls --status failed,expired --since 7d",
    "obatch ls --status in_progress -q | xargs obatch wait",
    "obatch ls --remote -p openai --last 100",
    "obatch ls --json | jq '.[].batch_ids'",
    note="Columns in a pipe, separated by tabs: number, name, provider, status, ended requests, all requests, model, "
    "time of creation, batch ids; with --remote: batch id, provider, status, ended requests, all requests, model, time "
    "of creation, job. A pipe, --json and -q get all jobs.",
)

SCREEN = 20
"""How many jobs a terminal shows by default."""
PAUSE = 5.0
"""Seconds between two looks at the jobs with --watch."""
_MOST = 10**9  # a larger number does not fit into the query
LOOK_SECONDS = 30.0
"""Seconds for a look at all jobs that are shown."""


def ls(
    status: Annotated[
        str | None, option("--status", "WORDS", "Only jobs with these statuses, separated by commas.")
    ] = None,
    provider: ProviderOpt = None,
    model: Annotated[str | None, option("--model -m", "NAME", "Only jobs whose (first) model is this.")] = None,
    since: Annotated[str | None, option("--since", "TIME", "Only jobs that are newer than this (12h, 7d).")] = None,
    last: Annotated[
        int | None, option("--last", "N", f"The newest N jobs; {SCREEN} in a terminal.", min=1, max=_MOST)
    ] = None,
    everything: Annotated[bool, flag("--all", "All jobs.")] = False,
    watch: Annotated[bool, flag("--watch", "Ask the providers again and again, until all have ended.")] = False,
    remote: Annotated[bool, flag("--remote", "List the batches at the providers, and which job has each.")] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """List the jobs, newest first, as last seen.

    `obatch list` is the same command.
    """
    from openai_batch.jobs.store.registry import Registry
    from openai_batch.providers.config import load
    from openai_batch.providers.lookup import get_provider_by_name

    output = Output(as_json=json, quiet=quiet)
    screen = output.terminal and not json and not quiet
    if watch and not screen:
        raise UsageError("--watch needs a terminal", hint="`obatch wait` prints a line for each change")
    if everything and last is not None:
        raise UsageError("--all and --last cannot be used together", hint="leave out one of them")
    shown = None if everything else last or (SCREEN if screen else None)
    if remote:
        if watch or (status, model, since) != (None, None, None):
            raise UsageError("--remote goes with -p, --last and --all only", hint="leave out the other options")
        _show_remote(output, provider, shown)
        return
    registry = Registry()
    load()  # an invalid configuration file is an error here too
    if provider is not None and not registry.count(provider):
        get_provider_by_name(provider)  # is it known at all?
    wanted = _Wanted(provider, _statuses(status, registry), model, seconds(since))
    if watch:
        _watch(output, wanted, shown)
    elif json or screen:
        _show(output, *wanted.jobs(registry, registry.jobs, shown), shown, wanted)
    else:
        list_jobs(output, wanted.jobs(registry, registry.listed, shown)[0], wanted.none)


def _show_remote(output: Output, provider: str | None, shown: int | None) -> None:
    """Show the newest `shown` batches of each account, or of one provider."""
    from openai_batch.cli.remote_format import show_remote
    from openai_batch.jobs.remote_batches import remote_batches
    from openai_batch.providers.lookup import askable_providers, get_provider_by_name

    asked = [get_provider_by_name(provider)] if provider else askable_providers()
    if not asked:
        raise AuthError("no provider can be asked: no key is set", hint="export the key, or name the provider with -p")
    with session(quiet=output.quiet, busy=output.terminal) as current:

        def found() -> Iterator[RemoteBatch]:
            for each in asked:
                try:
                    yield from remote_batches(current.workflow, each, shown)
                except BatchError as exc:
                    if len(asked) == 1:
                        raise
                    current.reporter.warn(f"{each}: {exc}")
            current.reporter.close()

        show_remote(output, found())


def _statuses(words: str | None, registry: Registry) -> set[str] | None:
    """Return the statuses that --status names, also by other words for them. Raises UsageError for an unknown one."""
    from openai_batch.jobs.store import records
    from openai_batch.providers.batch_info import STATUSES, standard_status

    if words is None:
        return None
    own = {records.QUEUED, records.NOT_SENT, records.PARTLY_SENT, records.UNCERTAIN, records.WITHDRAWN}
    wanted = {word.strip() for word in words.lower().split(",")}
    wanted = {word if word in own else standard_status(word) for word in wanted}
    unknown = wanted.difference(own, STATUSES)
    for word in unknown.difference(job.status for job in registry.listed()) if unknown else ():
        raise UsageError(f"--status {word} is not known", hint=suggest(word, own.union(STATUSES)))
    return wanted


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which jobs are listed."""

    provider: str | None
    statuses: set[str] | None
    model: str | None
    age: float | None  # in seconds, at most

    @property
    def all(self) -> bool:
        """Whether no job of the provider is left out."""
        return self.statuses is None and self.model is None and self.age is None

    @property
    def none(self) -> str:
        """The message if there are no such jobs."""
        return "no jobs yet; `obatch run FILE` starts one" if self.all and self.provider is None else "no such jobs"

    def jobs(
        self, registry: Registry, read: Callable[[int | None, str | None], list[_Job]], shown: int | None
    ) -> tuple[list[_Job], int]:
        """Return the newest `shown` of these jobs, as `read` returns them, and how many there are."""
        if self.all and shown is not None:
            return read(shown, self.provider), registry.count(self.provider)
        found = [job for job in read(None, self.provider) if self._has(job)]
        return found[:shown], len(found)

    def _has(self, job: ListedJob) -> bool:
        return (
            (self.statuses is None or job.status in self.statuses)
            and (self.model is None or job.model == self.model)
            and (self.age is None or time.time() - job.created_at <= self.age)
        )


def _show(output: Output, jobs: list[JobRecord], total: int, shown: int | None, wanted: _Wanted) -> None:
    show_jobs(output, jobs, wanted.none)
    if shown is not None and total > len(jobs) and output.terminal and not output.quiet:
        errors.note(f"{len(jobs):,} of {count_text(total, 'job')}; --all shows all")


def _watch(output: Output, wanted: _Wanted, shown: int | None) -> None:
    """Show the jobs repeatedly, with the state at their providers, until they have ended."""
    from openai_batch.net.time_limit import deadline_in, until

    with session(quiet=True) as current:
        registry = current.workflow.registry
        while True:
            jobs, total = wanted.jobs(registry, registry.jobs, shown)
            output.clear()
            _show(output, jobs, total, shown, wanted)
            running = [job for job in jobs if not job.ended]
            if not running:
                return
            time.sleep(PAUSE)
            with until(deadline_in(LOOK_SECONDS)):
                for job in running:
                    with contextlib.suppress(BatchError):  # the state last seen stays
                        current.workflow.refresh(job, once=True)
