"""The option --notify: notifications when a job ends."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openai_batch.jobs.store.records import JobRecord

    from .session import CommandSession


class Notifier:
    """Sends notifications when jobs have ended. Raises UsageError at once if that cannot work."""

    def __init__(self, given: Sequence[str] | None) -> None:
        from openai_batch.jobs.notify import read_targets
        from openai_batch.providers.config import load

        self._targets = read_targets(given, load().notify)

    def tell(self, current: CommandSession, job: JobRecord) -> None:
        """Notify that a job has ended, if it has."""
        from openai_batch.jobs.notify import notify

        if job.ended:
            notify(self._targets, job, _ring, current.reporter.warn, os.environ)

    @contextlib.contextmanager
    def at_end(self, current: CommandSession) -> Iterator[None]:
        """After the block, notify that the job of the session has ended, also if it ended with an error."""
        try:
            yield
        except BatchError:
            self._tell(current)
            raise
        self._tell(current)

    def _tell(self, current: CommandSession) -> None:
        if current.job is not None:
            self.tell(current, current.workflow.registry.job(current.job.id))


def _ring() -> None:
    """Ring the bell of the terminal."""
    if sys.stderr.isatty():
        from openai_batch.escapes import unescaped

        stream = unescaped(sys.stderr)
        with contextlib.suppress(OSError):
            stream.write("\a")
            stream.flush()
