"""The objects of a command (registry, workflow, reporter), and its error after an interruption."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import StoppedError

from .live import make_reporter
from .output import errors
from .signals import exit_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openai_batch.errors import BatchError
    from openai_batch.jobs.store.records import JobRecord
    from openai_batch.jobs.store.registry import Registry
    from openai_batch.jobs.workflow import Workflow

    from .progress import CommandReporter


@dataclass
class CommandSession:
    """The objects of one command."""

    workflow: Workflow  # the steps of jobs; it contains the registry
    reporter: CommandReporter  # progress and messages on standard error
    job: JobRecord | None = None  # the job that the command works on, for the message when it is interrupted

    def follow(self, job: JobRecord | None) -> None:
        """Remember the job that the command works on."""
        self.job = job

    def find(
        self, reference: str | None, provider: str | None = None, *, use: bool = True, ask: bool = True
    ) -> JobRecord:
        """Return the job with this number, name or batch id; None is the one used last, which a message names.

        With `ask`, a batch without a known job is looked for, and added as a job. With `use` the job is now the one
        used last. Raises NotFoundError, also if the job is not at `provider`.
        """
        from openai_batch.jobs.recover import find_job, known_job

        job = (find_job if ask else known_job)(self.workflow, reference, provider)
        if reference is None:
            named = f" ({job.name})" if job.name else ""
            self.reporter.note(f"job {job.id}{named}, the one used last")
        if use:
            self.workflow.registry.touch(job.id)
        self.job = job
        return job

    def find_all(
        self, references: Sequence[str] | None, provider: str | None = None, *, use: bool = True, ask: bool = True
    ) -> list[JobRecord]:
        """Return the jobs with these numbers, names or batch ids, each once; the one used last if none is named."""
        found = [self.find(reference, provider, use=use, ask=ask) for reference in (references or (None,))]
        return list({job.id: job for job in found}.values())

    def ended(self, reference: str | None, provider: str | None = None) -> JobRecord:
        """Find a job and ask its provider whether it has ended. Raises BatchError if it still runs."""
        return self.workflow.ended(self.find(reference, provider))


@contextlib.contextmanager
def session(*, quiet: bool = False, busy: bool = False) -> Iterator[CommandSession]:
    """Make a session; an interruption becomes an error that says what keeps running and how to continue.

    With `busy`, a terminal shows at once that something happens; the command closes the reporter before it prints data.
    """

    def durations(job: JobRecord) -> list[float]:
        return registry.durations(job)

    reporter = make_reporter(durations, quiet=quiet)
    with contextlib.closing(reporter):
        if busy:
            reporter.busy("starting")  # before the slow imports

        from openai_batch.files.paths import network_filesystem
        from openai_batch.jobs.store.registry import Registry
        from openai_batch.jobs.workflow import Workflow

        hide_known_keys()
        registry = Registry()
        if (kind := network_filesystem(registry.path)) is not None:
            reporter.warn(
                f"{registry.path} is on a network file system ({kind}), where locks may fail; set OBATCH_STATE_DIR"
            )
        workflow = Workflow(registry, reporter)
        current = CommandSession(workflow, reporter)
        try:
            yield current
        except KeyboardInterrupt as exc:
            reporter.close()
            raise _interrupted(exc, registry, current.job) from None
        finally:
            reporter.close()
            workflow.close()


def raise_last(failed: Sequence[BatchError]) -> None:
    """Raise the last of the errors of several jobs, if there is one; the others are warnings."""
    for error in failed[:-1]:
        errors.warn(str(error))
    if failed:
        raise failed[-1]


def _interrupted(exc: KeyboardInterrupt, registry: Registry, job: JobRecord | None) -> BatchError:
    """Return the error of an interrupted command: what keeps running, and how to continue."""
    job = None if job is None else registry.job(job.id)
    if job is None:
        message, hint = "interrupted", "run the same command again to continue"
    elif job.not_sent:
        message, hint = f"interrupted; job {job.id} was not sent", "run the same command again to send it"
    elif any(part.direct and part.unsent for part in job.parts):
        message, hint = f"interrupted; the rest of job {job.id} is sent when it continues", f"obatch wait {job.id}"
    else:
        message, hint = f"interrupted; job {job.id} was not cancelled: it keeps running", f"obatch wait {job.id}"
    return StoppedError(message, hint=hint, signum=exit_code(exc) - 128)


def hide_known_keys() -> None:
    """Hide the keys in the environment in everything that is shown: result files may repeat them.

    Raises ConfigError if the configuration file, which names their variables, is invalid.
    """
    from openai_batch.providers.keys import hide_keys
    from openai_batch.providers.lookup import providers_in_use

    for profile in providers_in_use():
        hide_keys(profile.api_key, profile.api_key_env_var, profile.headers)
