"""What a command works with (registry, workflow, reporter), and the error that it ends with when interrupted."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .progress import CommandReporter, make_reporter
from .signals import stopped_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openai_batch.jobs.store.records import JobRecord
    from openai_batch.jobs.workflow import Workflow


@dataclass
class CommandSession:
    """What one command works with."""

    # The steps of jobs; it holds the registry.
    workflow: Workflow
    # Progress and messages on standard error.
    reporter: CommandReporter
    # The job that the command works on, for the message when it is interrupted.
    job: JobRecord | None = None

    def follow(self, job: JobRecord | None) -> None:
        """Remember the job that the command works on."""
        self.job = job

    def find(self, reference: str | None, provider: str | None = None) -> JobRecord:
        """Return the job with this number, name or batch id (None: the latest); a batch of no known job is adopted.

        Raises NotFoundError.
        """
        from openai_batch.jobs.recover import find_job

        job = find_job(self.workflow, reference, provider)
        self.job = job
        return job

    def find_all(self, references: Sequence[str] | None, provider: str | None = None) -> list[JobRecord]:
        """Return the jobs with these numbers, names or batch ids; the latest job if none is named."""
        return [self.find(reference, provider) for reference in (references or (None,))]

    def ended(self, reference: str | None, provider: str | None = None) -> JobRecord:
        """Find a job and ask its provider whether it has ended. Raises BatchError if it still runs."""
        return self.workflow.ended(self.find(reference, provider))


@contextlib.contextmanager
def session(*, quiet: bool = False) -> Iterator[CommandSession]:
    """Make a session; an interruption becomes an error that says what keeps running and how to continue."""
    from openai_batch.files.paths import network_filesystem
    from openai_batch.jobs.store.registry import Registry
    from openai_batch.jobs.workflow import Workflow

    reporter = make_reporter(quiet=quiet)
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
        job = current.job
        if job is None:
            raise stopped_error(exc, "interrupted", "run the same command again to continue") from None
        state = "it keeps running" if job.submitted else "run the same command again to continue it"
        message = f"interrupted; job {job.id} was not cancelled: {state}"
        raise stopped_error(exc, message, f"obatch wait {job.id}") from None
    finally:
        reporter.close()
        workflow.close()
