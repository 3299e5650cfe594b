"""Progress of `map` and `embed`: a bar on a terminal or in a notebook, and `logging` in any case."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from openai_batch.escapes import escape_newlines
from openai_batch.jobs.logging_reporter import LoggingReporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.jobs.reporter import Reporter
    from openai_batch.jobs.store.records import JobRecord


@contextmanager
def progress_reporter(*, shown: bool) -> Iterator[Reporter]:
    """Yield a reporter. If `shown`, and there is a terminal or a notebook, it shows a bar until the block ends."""
    if not shown or not (_in_notebook() or sys.stderr.isatty()):
        yield LoggingReporter()
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
        yield _BarReporter(bars)


class _BarReporter(LoggingReporter):
    """Shows one bar: the upload or the download, or the requests of the job."""

    def __init__(self, bars: Any) -> None:
        super().__init__()
        self._bars = bars
        self._task = bars.add_task("starting", total=None)

    def progress(self, what: str, done: int, total: int | None) -> None:
        super().progress(what, done, total)
        self._bars.update(self._task, description=escape_newlines(what), completed=done, total=total)

    def polled(self, job: JobRecord) -> None:
        super().polled(job)
        status, counts = escape_newlines(job.status.replace("_", " ")), job.counts
        self._bars.update(
            self._task, description=f"job {job.id}: {status}", completed=counts.done, total=counts.total or None
        )


def _in_notebook() -> bool:
    """Tell whether this program is a notebook: IPython with a kernel."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
