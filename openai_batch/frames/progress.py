"""Progress of runs: a bar on a terminal or in a notebook if it is wanted, and always `logging`."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from openai_batch.escapes import escape_newlines
from openai_batch.jobs.logging_reporter import LoggingReporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.jobs.store.records import JobRecord


_REDRAWN = 0.2  # seconds from one picture of the bar in a notebook to the next


class BarReporter(LoggingReporter):
    """Shows one bar within `shown`: the upload or the download, or the requests of the job."""

    def __init__(self) -> None:
        super().__init__()
        self._bars: Any = None
        self._task: Any = None
        self._output: Any = None  # the part of a notebook that shows the bar
        self._shown_at = 0.0

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
        bars = Progress(*columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False)
        self._task = bars.add_task("starting", total=None)
        # In a notebook rich's own display needs ipywidgets, and shows nothing without it.
        self._output = _in_notebook() and sys.modules["IPython"].display.display(bars, display_id=True)
        with nullcontext() if self._output else bars:
            self._bars = bars
            try:
                yield
            finally:
                self._bars = None
                if self._output:
                    self._output.update(bars)

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
            if self._output and time.monotonic() - self._shown_at > _REDRAWN:
                self._shown_at = time.monotonic()
                self._output.update(bars)


def _in_notebook() -> bool:
    """Return whether this program is a notebook: IPython with a kernel."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
