"""Progress of runs: a bar on a terminal or in a notebook while it is wanted, and `logging` in any case."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from openai_batch.escapes import escape_newlines
from openai_batch.jobs.logging_reporter import LoggingReporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.jobs.store.records import JobRecord


class BarReporter(LoggingReporter):
    """Shows one bar within `shown`: the upload or the download, or the requests of the job."""

    def __init__(self) -> None:
        super().__init__()
        self._bars: Any = None
        self._task: Any = None

    @contextmanager
    def shown(self, *, wanted: bool = True) -> Iterator[None]:
        """Show the bar until the block ends, if it is wanted, and there is a terminal or a notebook."""
        if not wanted or self._bars is not None or not (_in_notebook() or sys.stderr.isatty()):
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        console = Console(stderr=True)
        with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bars:
            self._bars, self._task = bars, bars.add_task("starting", total=None)
            try:
                yield
            finally:
                self._bars = None

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show a transfer."""
        super().progress(what, done, total)
        self._show(what, done, total)

    def polled(self, job: JobRecord) -> None:
        """Show how many requests of a job are done."""
        super().polled(job)
        self._show(f"job {job.id}: {job.status.replace('_', ' ')}", job.counts.done, job.counts.total or None)

    def _show(self, what: str, done: int, total: int | None) -> None:
        bars = self._bars
        if bars is not None:
            bars.update(self._task, description=escape_newlines(what), completed=done, total=total)


def _in_notebook() -> bool:
    """Tell whether this program is a notebook: IPython with a kernel."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
