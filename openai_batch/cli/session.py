"""What a command works with, made once: the registry, the workflow, the reporter; and how it ends when stopped."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .progress import CommandReporter, make_reporter
from .signals import stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.jobs.store.records import JobRecord
    from openai_batch.jobs.workflow import Workflow


@dataclass
class CommandSession:
    """What one command works with."""

    workflow: Workflow
    reporter: CommandReporter
    # The job at work, for the message at an interruption.
    job: JobRecord | None = None

    def follow(self, job: JobRecord | None) -> None:
        """Note which job is at work."""
        self.job = job

    def find(self, reference: str | None, provider: str | None = None) -> JobRecord:
        """Return the job that a user means; a batch id that is new here is adopted from its provider."""
        from openai_batch.jobs.recover import find_job

        job = find_job(self.workflow, reference, provider)
        self.job = job
        return job

    def ended(self, reference: str | None, provider: str | None = None) -> JobRecord:
        """Return the job that a user means, if it has ended; its provider is asked. Raises BatchError otherwise."""
        return self.workflow.ended(self.find(reference, provider))


@contextlib.contextmanager
def session(*, quiet: bool = False) -> Iterator[CommandSession]:
    """Make a session; an interruption becomes an error that says what goes on and how to come back."""
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
            raise stopped(exc, "interrupted", "the same command again goes on where this one stopped") from None
        told = "it goes on" if job.submitted else "the same command again goes on with it"
        raise stopped(exc, f"interrupted; job {job.id} was not cancelled: {told}", f"obatch wait {job.id}") from None
    finally:
        reporter.close()
        workflow.close()
