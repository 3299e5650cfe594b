"""The live display on a terminal of what a command waits for. It fits every width."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

from openai_batch.errors import count_text
from openai_batch.report.texts import duration_text

from .output import errors, escape_to_line, use_colour
from .progress import (
    CommandReporter,
    LogReporter,
    note_queued,
    phase_text,
    rate_text,
    size_text,
    time_limits,
    usual_text,
    waiting_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from openai_batch.jobs.store.records import JobRecord

    Durations = Callable[[JobRecord], list[float]]

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BAR = (6, 24)
"""The shortest and the longest bar."""
_DETAILED, _SHOWN = 3, 10  # up to how many jobs have a second line, and how many are shown at all


def make_reporter(durations: Durations, *, quiet: bool = False) -> CommandReporter:
    """Return the reporter that fits standard error: live on a colour terminal, else log lines; if quiet, warnings.

    `durations` gives the seconds that jobs like one took on this machine, the shortest first.
    """
    if quiet:
        return CommandReporter()
    if sys.stderr.isatty() and use_colour(sys.stderr):
        return LiveReporter(durations)
    return LogReporter()


@contextlib.contextmanager
def working(what: str, files: Sequence[str] = ()) -> Iterator[None]:
    """Show on a terminal what is under way, until the block ends; not if it may be the input, as `-` in `files`."""
    with contextlib.closing(make_reporter(lambda _: [], quiet="-" in files)) as reporter:
        reporter.busy(what)
        yield


class LiveReporter(CommandReporter):
    """Shows the current step, or the jobs that the command waits for, below the messages."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._live: Any = None
        self._console: Any = None
        # What is under way, and how far it is; by job what was seen last; by job how long similar jobs took, as text.
        self._steps: dict[str, tuple[int, int | None]] = {}
        self._jobs: dict[int, JobRecord] = {}
        self._usual: dict[int, str] = {}
        self._queued: dict[int, float] = {}
        self._ended = 0

    def note(self, text: str) -> None:
        """Print a message above the display."""
        errors.note(text)

    def busy(self, what: str) -> None:
        """Show the current step, until the next one."""
        self._steps = {what: (0, None)}
        self._start()

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show the progress of a transfer, or a step of unknown length if `done` is 0 and `total` None."""
        self._steps = {name: state for name, state in self._steps.items() if state != (0, None)}
        self._steps[what] = (done, total)
        if total is not None and done >= total:
            del self._steps[what]
        self._start()

    def watch(self, jobs: Sequence[JobRecord]) -> None:
        """Show these jobs, for which the command now waits."""
        for job in jobs:
            self.polled(job)

    def polled(self, job: JobRecord) -> None:
        """Show the state of a job; one that has ended is only counted."""
        self._steps = {}  # transfers without a known size have ended by now
        if job.ended:
            self._ended += self._jobs.pop(job.id, None) is not None
            return
        if job.id not in self._usual:
            self._usual[job.id] = usual_text(self._durations(job))
        note_queued(self._queued, job)
        self._jobs[job.id] = job
        self._start()

    def close(self) -> None:
        """Remove the display."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._steps, self._jobs = {}, {}

    def _start(self) -> None:
        if self._live is None:
            from rich.live import Live

            self._console = errors.console()
            self._live = Live(
                get_renderable=self._render,
                console=self._console,
                refresh_per_second=5,
                transient=True,
                redirect_stdout=False,  # standard output is for data
            )
            self._live.start(refresh=True)

    def _render(self) -> Any:
        from rich.text import Text

        console = self._console
        fancy = console.encoding.lower().startswith("utf")
        spin = _SPINNER[int(time.monotonic() * 5) % len(_SPINNER)] if fancy else "*"
        lines = [step_line(what, *state, console.width - 2, fancy=fancy) for what, state in list(self._steps.items())]
        jobs = list(self._jobs.values())
        if jobs and len(jobs) + self._ended > 1:
            lines.append(f"{self._ended} of {count_text(len(jobs) + self._ended, 'job')} ended")
        for job in jobs[:_SHOWN]:
            details = [waiting_text(job, self._queued.get(job.id)), self._usual.get(job.id, "")]
            shown = job_lines(job, console.width - 2, details, fancy=fancy)
            lines += shown if len(jobs) <= _DETAILED else shown[:1]
        if len(jobs) > _SHOWN:
            lines.append(f"  … and {len(jobs) - _SHOWN:,} more")
        body = "\n".join(line if line.startswith(" ") else f"{spin} {line}" for line in lines)
        return Text(body, no_wrap=True, overflow="ellipsis")


def step_line(what: str, done: int, total: int | None, width: int, *, fancy: bool = True) -> str:
    """Return the line of a step: its name, and how far it is if that is known."""
    what = escape_to_line(what)
    if not done and not total:
        return f"{what} …" if fancy else f"{what} ..."
    size = size_text(done) + (f" of {size_text(total)}" if total else "")
    return _with_bar(what, size, done, total, width, fancy=fancy)


def job_lines(job: JobRecord, width: int, details: Sequence[str], *, fancy: bool = True) -> list[str]:
    """Return the lines of a job: its phase, a bar, how many are done and for how long it runs; below, `details`.

    Parts that do not fit next to the phase are first on the lines below it.
    """
    counts, now = job.counts, time.time()
    done = f"{counts.done:,}/{counts.total:,}" if counts.total else ""
    failed = f"{counts.failed:,} failed" if counts.failed else ""
    facts = [fact for fact in (done, failed, duration_text(max(0.0, now - job.created_at))) if fact]
    left = f"job {job.id} {escape_to_line(phase_text(job))}"
    for count in range(len(facts), -1, -1):
        first = _with_bar(left, ", ".join(facts[:count]), counts.done, counts.total, width, fancy=fancy)
        if len(first) <= width:
            break
    more = ", ".join(filter(None, [*facts[count:], *details, rate_text(job, now), *time_limits(job, now)]))
    return [first, *textwrap.wrap(escape_to_line(more), width, initial_indent="  ", subsequent_indent="  ")]


def _with_bar(left: str, right: str, done: int, total: int | None, width: int, *, fancy: bool) -> str:
    """Return two texts with a bar between them, if there is space."""
    room = min(_BAR[1], width - len(left) - len(right) - 2)
    if room < _BAR[0] or not total:
        return f"{left}, {right}" if right else left
    full = round(room * min(1.0, done / total))
    return f"{left} {('━' if fancy else '#') * full}{('╌' if fancy else '-') * (room - full)} {right}".rstrip()
