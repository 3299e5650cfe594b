"""Progress reports. The library never prints: it calls the methods of a `Reporter`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store.records import JobRecord


class Reporter:
    """A silent reporter. Override its methods to show what happens.

        class Shown(Reporter):
            def polled(self, job):
                print(job.status, job.counts.done, "of", job.counts.total)

        run = start(texts, model="gpt-4o-mini", reporter=Shown())

    They are called in the thread that does the work.
    """

    def note(self, text: str) -> None:
        """Show one line of text about what happens."""

    def warn(self, text: str) -> None:
        """Show a text that the user should act on."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show the progress of a transfer: `done` of `total` bytes (None: unknown). `what` names it, as "upload"."""

    def polled(self, job: JobRecord) -> None:
        """Show the state of a job. Called each time after the provider was asked for it."""
