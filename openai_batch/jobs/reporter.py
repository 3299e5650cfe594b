"""Progress reports. The library never prints: it calls the methods of a `Reporter`."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store.records import JobRecord


class Reporter:
    """A silent reporter. Override its methods to show what happens.

        class Shown(Reporter):
            def polled(self, job):
                print(job.status, job.counts.done, "of", job.counts.total)

        run = start(texts, model="gpt-4o-mini", reporter=Shown())

    They are called one at a time, in the thread that does the work.
    """

    def note(self, text: str) -> None:
        """Show one line of text about what happens."""

    def warn(self, text: str) -> None:
        """Show a text that the user should act on."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show the progress of a transfer: `done` of `total` bytes (None: unknown). `what` names it, as "upload"."""

    def polled(self, job: JobRecord) -> None:
        """Show the state of a job. Called each time after the provider was asked for it."""


class Together:
    """One reporter for several threads: its methods are called one at a time, with the sums of their transfers.

    `total` is how many bytes the threads transfer together; None if that is not known.
    """

    def __init__(self, reporter: Reporter, total: int | None) -> None:
        self._reporter, self._total = reporter, total
        self._lock = threading.Lock()
        self._done: defaultdict[str, dict[int, int]] = defaultdict(dict)  # by transfer and thread
        self._ended: defaultdict[str, int] = defaultdict(int)

    def of_thread(self) -> Reporter:
        """Return the reporter of one thread."""
        return _OfThread(self, self._reporter, self._lock)

    def progress(self, thread: int, what: str, done: int, total: int | None) -> None:
        """Report how many bytes all threads have transferred. Call it with the lock held."""
        self._done[what][thread] = done
        if total is not None and done >= total:
            self._ended[what] += self._done[what].pop(thread)
        self._reporter.progress(what, self._ended[what] + sum(self._done[what].values()), self._total)

    def close(self) -> None:
        """Report the end of the transfers whose size was not known."""
        if self._total is None:
            for what, done in self._ended.items():
                self._reporter.progress(what, done, done)


class _OfThread(Reporter):
    """The reporter of one of several threads."""

    def __init__(self, together: Together, reporter: Reporter, lock: threading.Lock) -> None:
        self._together, self._reporter, self._lock = together, reporter, lock

    def note(self, text: str) -> None:
        with self._lock:
            self._reporter.note(text)

    def warn(self, text: str) -> None:
        with self._lock:
            self._reporter.warn(text)

    def progress(self, what: str, done: int, total: int | None) -> None:
        with self._lock:
            self._together.progress(id(self), what, done, total)

    def polled(self, job: JobRecord) -> None:
        with self._lock:
            self._reporter.polled(job)
