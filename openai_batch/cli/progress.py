"""Reporters of progress on standard error: live bars on a terminal, one line per change elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from openai_batch.errors import count_text
from openai_batch.jobs.reporter import Reporter

from .output import errors, escape_to_line, use_colour

if TYPE_CHECKING:
    from openai_batch.jobs.store.records import JobRecord

HEARTBEAT = 60.0
"""Seconds between lines while nothing changes: people and CI take a silent log for a dead job."""


def make_reporter(*, quiet: bool = False) -> CommandReporter:
    """Return the reporter that fits standard error: bars on a colour terminal, else log lines; if quiet, warnings."""
    if quiet:
        return CommandReporter()
    if sys.stderr.isatty() and use_colour(sys.stderr):
        return LiveReporter()
    return LogReporter()


class CommandReporter(Reporter):
    """Prints warnings only."""

    def warn(self, text: str) -> None:
        """Print a warning."""
        errors.warn(text)

    def close(self) -> None:
        """Stop animations."""


class LogReporter(CommandReporter):
    """Prints one line per change of status, and one a minute while nothing changes."""

    def __init__(self) -> None:
        # By job: the status that was printed last, and when (monotonic seconds).
        self._last: dict[int, tuple[str, float]] = {}
        # By transfer: when its last line was printed, or when it began.
        self._transfers: dict[str, float] = {}

    def note(self, text: str) -> None:
        """Print a remark."""
        errors.note(text)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Print a line at the end of a transfer, and every 15 seconds before."""
        now = time.monotonic()
        ended = total is not None and done >= total
        since = self._transfers.setdefault(what, now)
        if (ended and total) or now - since >= HEARTBEAT / 4:
            self._transfers[what] = now
            errors.note(f"{what}: {size_text(done)}" + (f" of {size_text(total)}" if total else ""))
        if ended:
            self._transfers.pop(what, None)

    def polled(self, job: JobRecord) -> None:
        """Print the progress of a job if its status has changed, or once a minute."""
        now = time.monotonic()
        status, printed_at = self._last.get(job.id, ("", 0.0))
        if job.status != status or now - printed_at >= HEARTBEAT:
            self._last[job.id] = (job.status, now)
            errors.note(f"job {job.id}: {progress_text(job)}")


class LiveReporter(CommandReporter):
    """Shows Rich progress bars on standard error."""

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
            self._tasks[what] = bars.add_task(escape_to_line(what), total=total, detail="")
        detail = size_text(done) + (f" of {size_text(total)}" if total else "")
        bars.update(self._tasks[what], completed=done, total=total, detail=detail)
        if total is not None and done >= total:
            bars.remove_task(self._tasks.pop(what))

    def polled(self, job: JobRecord) -> None:
        """Move the bar of a job."""
        bars, key = self._bars(), f"job {job.id}"
        for other in [name for name in self._tasks if not name.startswith("job ")]:
            bars.remove_task(self._tasks.pop(other))  # transfers without a known size have ended by now
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
            detail=escape_to_line(progress_text(job)),
        )

    def close(self) -> None:
        """Remove the bars."""
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
                redirect_stdout=False,  # standard output is for data
            )
            self._progress.start()
        return self._progress


def progress_text(job: JobRecord) -> str:
    """Return the status and progress of a job as a short text."""
    counts, total = job.counts, count_text(job.counts.total, "request")
    texts = [job.status.replace("_", " ")]
    if job.not_sent and job.reason:
        return f"{texts[0]}: {job.reason}"
    if counts.total and job.ended:
        texts.append(f"{counts.completed:,} of {total} answered" if counts.done else total)
    elif counts.total:
        texts.append(f"{counts.done:,} of {total}")
        texts += [f"{counts.failed:,} failed"] if counts.failed else []
    if any(part.queued for part in job.parts if part.unsent) and len(job.parts) > 1:
        texts.append(f"{job.waiting} of {len(job.parts)} parts waiting: the provider's queue is full")
    elif job.waiting and job.waiting < len(job.parts):
        texts.append(f"{job.waiting} of {len(job.parts)} parts not sent yet")
    if not job.ended and job.expires_at:
        texts.append(f"time left {duration_text(max(0.0, job.expires_at - time.time()))}")
    return ", ".join(texts)


def size_text(count: int | None) -> str:
    """Return a number of bytes with its unit, such as `1.5 MB`, in powers of 1000."""
    number = float(count or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":  # noqa: PLR2004 - the base
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units, such as `2 h 05 min`."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"
