"""Progress reports for Python's own `logging`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openai_batch.escapes import escape_newlines

from .reporter import Reporter

if TYPE_CHECKING:
    from .store.records import JobRecord

_SILENT = logging.NullHandler()  # without any handler, Python would print the warnings


class LoggingReporter(Reporter):
    """Writes to the logger `openai_batch`: warnings, and at the level INFO notes and each change of a job's status."""

    def __init__(self) -> None:
        self._log = logging.getLogger("openai_batch")
        self._log.addHandler(_SILENT)
        self._last: dict[int, str] = {}  # the status of each job that was written last

    def note(self, text: str) -> None:
        """Write a remark."""
        self._log.info(escape_newlines(text))

    def warn(self, text: str) -> None:
        """Write a warning."""
        self._log.warning(escape_newlines(text))

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Write the end of a transfer."""
        if total and done >= total:
            self._log.info("%s: %s bytes", escape_newlines(what), f"{total:,}")

    def polled(self, job: JobRecord) -> None:
        """Write the status of a job if it has changed, with its counts."""
        if self._last.get(job.id) != job.status:
            self._last[job.id] = job.status
            self._log.info("job %d: %s, %d of %d requests", job.id, job.status, job.counts.done, job.counts.total)
