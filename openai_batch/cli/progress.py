"""Reporters: bars and a live line where people look, one line a change where they do not."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from openai_batch.jobs.reporter import Reporter

from .output import coloured, errors, one_line

if TYPE_CHECKING:
    from openai_batch.jobs.store.records import JobRecord

HEARTBEAT = 60.0
"""Seconds: a log that says nothing for long is taken for a dead job, by people and by CI."""


def make_reporter(*, quiet: bool = False) -> CommandReporter:
    """Return the reporter for where standard error goes."""
    if quiet:
        return CommandReporter()
    if sys.stderr.isatty() and coloured(sys.stderr):
        return LiveReporter()
    return LogReporter()


class CommandReporter(Reporter):
    """Warnings only."""

    def warn(self, text: str) -> None:
        """Print a warning."""
        errors.warn(text)

    def close(self) -> None:
        """End what is animated."""


class LogReporter(CommandReporter):
    """One line for each change of state, and a heartbeat."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[str, float]] = {}
        self._told: dict[str, float] = {}

    def note(self, text: str) -> None:
        """Print a remark."""
        errors.note(text)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Print a line at the end of a transfer, and now and then before."""
        now = time.monotonic()
        ended = total is not None and done >= total
        since = self._told.setdefault(what, now)
        if (ended and total) or now - since >= HEARTBEAT / 4:
            self._told[what] = now
            errors.note(f"{what}: {size(done)}" + (f" of {size(total)}" if total else ""))
        if ended:
            self._told.pop(what, None)

    def polled(self, job: JobRecord) -> None:
        """Print how a job stands if that has changed, or after a minute."""
        now = time.monotonic()
        word, told = self._last.get(job.id, ("", 0.0))
        if job.status != word or now - told >= HEARTBEAT:
            self._last[job.id] = (job.status, now)
            errors.note(f"job {job.id}: {standing(job)}")


class LiveReporter(CommandReporter):
    """Rich progress bars on standard error."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}

    def note(self, text: str) -> None:
        """Print a remark above the bars."""
        errors.note(text)

    def warn(self, text: str) -> None:
        """Print a warning above the bars."""
        errors.warn(text)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Move the bar of a transfer."""
        bars = self._bars()
        if what not in self._tasks:
            self._tasks[what] = bars.add_task(one_line(what), total=total, detail="")
        detail = size(done) + (f" of {size(total)}" if total else "")
        bars.update(self._tasks[what], completed=done, total=total, detail=detail)
        if total is not None and done >= total:
            bars.remove_task(self._tasks.pop(what))

    def polled(self, job: JobRecord) -> None:
        """Move the bar of a job."""
        bars, key = self._bars(), f"job {job.id}"
        for other in [name for name in self._tasks if not name.startswith("job ")]:
            bars.remove_task(self._tasks.pop(other))  # a transfer without a known end is over by now
        if job.ended:
            if key in self._tasks:
                bars.remove_task(self._tasks.pop(key))
            return
        if key not in self._tasks:
            self._tasks[key] = bars.add_task(key, total=None, detail="")
        counts = job.counts
        bars.update(
            self._tasks[key],
            completed=counts.done,
            total=counts.total or None,
            detail=one_line(standing(job)),
        )

    def close(self) -> None:
        """Take the bars away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks.clear()

    def _bars(self) -> Any:
        if self._progress is None:
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[detail]}", markup=False),
                TimeElapsedColumn(),
                console=errors.console(),
                transient=True,
                redirect_stdout=False,  # data goes its own way
            )
            self._progress.start()
        return self._progress


def standing(job: JobRecord) -> str:
    """Return how a job stands, in a few words."""
    counts = job.counts
    words = [job.status.replace("_", " ")]
    if counts.total:
        words.append(f"{counts.done:,} of {counts.total:,} requests")
    if counts.failed:
        words.append(f"{counts.failed:,} failed")
    if job.waiting and len(job.parts) > 1:
        words.append(f"{job.waiting} of {len(job.parts)} parts wait for room at the provider")
    if not job.ended and job.expires_at:
        words.append(f"time left {span(max(0.0, job.expires_at - time.time()))}")
    return ", ".join(words)


def size(count: int | None) -> str:
    """Return a number of bytes as people read it, in powers of 1000."""
    number = float(count or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":  # noqa: PLR2004 - the base
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError


def span(seconds: float) -> str:
    """Return a time span in its two largest units."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"
