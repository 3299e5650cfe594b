"""What a command works with, made once: the registry, the workflow, the reporter; and how it ends when stopped."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import NotFoundError

from .main import stopped
from .progress import CommandReporter, make_reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch._jobs import Job
    from openai_batch._profile import Provider
    from openai_batch._workflow import Workflow


@dataclass
class Session:
    """The workflow of one command. `job` is the one at work, for the words at an interruption."""

    flow: Workflow
    reporter: CommandReporter
    job: Job | None = None

    def follow(self, job: Job | None) -> None:
        """Note which job is at work."""
        self.job = job

    def find(self, reference: str | None, provider: str | None = None) -> Job:
        """Return the job that a user means; a batch id that is new here is adopted from its provider."""
        try:
            job = self.flow.registry.find(reference)
        except NotFoundError:
            if reference is None or not (provider or reference.startswith("batch")):
                raise
            job = self.flow.adopt(reference, named_provider(provider))
            self.reporter.note(f"batch {reference} is now job {job.id}")
        self.job = job
        return job


@contextlib.contextmanager
def session(*, quiet: bool = False) -> Iterator[Session]:
    """Make a session; an interruption becomes an error that says what goes on and how to come back."""
    from openai_batch._paths import network_filesystem
    from openai_batch._registry import Registry
    from openai_batch._workflow import Workflow

    reporter = make_reporter(quiet=quiet)
    registry = Registry()
    if (kind := network_filesystem(registry.path)) is not None:
        reporter.warn(
            f"{registry.path} is on a network file system ({kind}), where locks may fail; set OBATCH_STATE_DIR"
        )
    current = Session(Workflow(registry, reporter), reporter)
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
        registry.close()


def named_provider(name: str | None) -> Provider | None:
    """Return the provider of that name, or None for None. Raises UnknownProviderError."""
    from openai_batch.providers import get_provider_by_name

    return get_provider_by_name(name) if name else None
