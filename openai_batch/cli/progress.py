"""Progress on standard error, one line per change, and the texts that describe it. `live` has that of a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from openai_batch.errors import count_text
from openai_batch.jobs.reporter import Reporter
from openai_batch.report.texts import duration_text

from .output import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_batch.jobs.store.records import JobRecord

HEARTBEAT = 60.0  # seconds between lines while nothing changes: people and CI may think that a silent job is dead


class CommandReporter(Reporter):
    """Prints warnings only."""

    def warn(self, text: str) -> None:
        """Print a warning."""
        errors.warn(text)

    def busy(self, what: str) -> None:
        """Show the current step before anything can be counted; only a terminal shows it."""

    def watch(self, jobs: Sequence[JobRecord]) -> None:
        """Show that the command now waits for these jobs."""

    def close(self) -> None:
        """Stop animations."""


class LogReporter(CommandReporter):
    """Prints one line per change of status, and one a minute while nothing changes."""

    def __init__(self) -> None:
        # By job: the status that was printed last, and when (monotonic seconds).
        self._last: dict[int, tuple[str, float]] = {}
        # By transfer: when its last line was printed, or when it began.
        self._transfers: dict[str, float] = {}
        # By job: since when it waits for the provider's queue (Unix seconds).
        self._queued: dict[int, float] = {}

    def note(self, text: str) -> None:
        """Print a remark."""
        errors.note(text)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Print a line at the end of a transfer, every 15 seconds before, and at the start of a step without size."""
        now = time.monotonic()
        if not done and total is None and what not in self._transfers:
            errors.note(what)
        ended = total is not None and done >= total
        since = self._transfers.setdefault(what, now)
        if done and (ended or now - since >= HEARTBEAT / 4):
            self._transfers[what] = now
            errors.note(f"{what}: {size_text(done)}" + (f" of {size_text(total)}" if total else ""))
        if ended:
            self._transfers.pop(what, None)

    def polled(self, job: JobRecord) -> None:
        """Print the progress of a job if its status has changed, or once a minute."""
        now = time.monotonic()
        status, printed_at = self._last.get(job.id, ("", 0.0))
        note_queued(self._queued, job)
        if job.status != status or now - printed_at >= HEARTBEAT:
            self._last[job.id] = (job.status, now)
            errors.note(f"job {job.id}: {progress_text(job, self._queued.get(job.id))}")


def progress_text(job: JobRecord, queued_at: float | None = None) -> str:
    """Return the status and progress of a job as a short text. `queued_at`: since when it waits for the queue."""
    counts, total = job.counts, count_text(job.counts.total, "request")
    texts = [phase_text(job)]
    if job.not_sent and job.reason:
        return f"{texts[0]}: {job.reason}"
    if counts.total and job.ended:
        texts.append(f"{counts.completed:,} of {total} answered" if counts.done else total)
    elif counts.total:
        texts.append(f"{counts.done:,} of {total}")
        texts += [f"{counts.failed:,} failed"] if counts.failed else []
    if waiting := waiting_text(job, queued_at):
        texts.append(waiting)
    return ", ".join([*texts, *([] if job.ended else time_limits(job, time.time()))])


def time_limits(job: JobRecord, now: float) -> list[str]:
    """Return when a job must be done: by `--deadline`, and before its first batch expires."""
    limits = (("deadline", job.deadline), ("expires", job.expires_at))
    return [f"{word} in {duration_text(max(0.0, moment - now))}" for word, moment in limits if moment]


def phase_text(job: JobRecord) -> str:
    """Return the status of a job as words."""
    return job.status.replace("_", " ")


def is_queued(job: JobRecord) -> bool:
    """Return whether a part of a job waits because the provider's queue is full."""
    return any(part.queued for part in job.parts if part.unsent)


def note_queued(queued: dict[int, float], job: JobRecord) -> None:
    """Note in `queued` since when a job waits for the provider's queue, in Unix seconds."""
    if is_queued(job):
        queued.setdefault(job.id, time.time())
    else:
        queued.pop(job.id, None)


def waiting_text(job: JobRecord, queued_at: float | None = None) -> str:
    """Return how many parts are not sent, and why; an empty text if all are sent, or none."""
    parts = f"{job.waiting} of {len(job.parts)} parts"
    if is_queued(job):
        waited = "" if queued_at is None else f" for {duration_text(max(0.0, time.time() - queued_at))}"
        who = f"{parts} waiting" if len(job.parts) > 1 else "waiting"
        return f"{who}{waited}: the provider's queue is full" if len(job.parts) > 1 or waited else ""
    return f"{parts} not sent yet" if 0 < job.waiting < len(job.parts) else ""


def rate_text(job: JobRecord, now: float) -> str:
    """Return how fast the requests of a job end, such as `12/min`; an empty text if none has ended."""
    start = job.sent_at
    if start is None or not job.counts.done or now - start < 1:
        return ""
    rate = job.counts.done / (now - start)
    for number, unit in ((rate, "s"), (rate * 60, "min"), (rate * 3600, "h")):
        if number >= 1 or unit == "h":
            return f"{number:,.0f}/{unit}"
    raise AssertionError


_KNOWN, _MANY = 3, 10  # how many jobs must have ended for the usual duration, and for that of nine in ten


def usual_text(durations: Sequence[float]) -> str:
    """Return how long jobs like this took, from the durations of earlier ones in order; an empty text if too few."""
    if len(durations) < _KNOWN:
        return ""
    text = f"usually {short_duration(durations[len(durations) // 2])}"
    most = durations[-(-len(durations) * 9 // 10) - 1]
    return text + (f"; 9 of 10 within {short_duration(most)}" if len(durations) >= _MANY else "")


def short_duration(seconds: float) -> str:
    """Return a duration in its largest unit, such as `2 h`."""
    return " ".join(duration_text(seconds).split()[:2])


def size_text(count: int | None) -> str:
    """Return a number of bytes with its unit, such as `1.5 MB`, in powers of 1000."""
    number = float(count or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":  # noqa: PLR2004 - the base
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError
