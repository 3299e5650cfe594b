"""`Report`: how a job ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_batch.errors import OutputExistsError, count_text
from openai_batch.files.atomic import as_file, check_target, part_file, publish
from openai_batch.results.outcome import OUTCOMES
from openai_batch.results.statistics import Statistics
from openai_batch.results.tally import OUTCOME_WORDS, Tally

from .page import page
from .texts import UNKNOWN, duration_text, durations_text, iso_time, local_time, numbers_text

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from openai_batch.costs.receipt import Receipt
    from openai_batch.results.causes import Cause

_CAUSES = 100  # how many causes a record has


class ReportRow(NamedTuple):
    """One request and its answer, as the page shows it."""

    custom_id: str  # its id
    outcome: str  # how it ended
    prompt: str  # the beginning of its prompt; empty if that is not known
    answer: str  # the beginning of the answer, or why there is none


@dataclass(frozen=True, slots=True)
class ReportPart:
    """One batch of the job. Times are Unix seconds, None if they are not known."""

    number: int  # its place in the job, from 1
    batch_id: str | None  # the provider's id of it; None if it was never sent
    status: str | None  # its status, in the provider's words
    requests: int  # how many requests it has
    completed: int  # how many of them the provider counts as completed
    failed: int  # how many of them the provider counts as failed
    retry: bool  # whether it sends failed requests again
    created_at: float | None  # when it was created
    ended_at: float | None  # when it ended

    def record(self) -> dict[str, Any]:
        """Return its JSON record."""
        seconds = self.ended_at - self.created_at if self.created_at and self.ended_at else None
        times = {"created_at": iso_time(self.created_at), "ended_at": iso_time(self.ended_at)}
        return asdict(self) | times | {"seconds": seconds}


@dataclass(slots=True)
class Report:
    """How a job ended: outcomes, causes, tokens, times, and the first answers. Times are Unix seconds."""

    job: int
    """The job's number."""
    name: str | None
    """The job's name."""
    provider: str
    """The name of its provider."""
    endpoint: str
    """The path that its requests call."""
    model: str | None
    """The model of its requests; None if they have several."""
    status: str
    """How it ended."""
    created_at: float
    """When it was started here."""
    sent_at: float | None
    """When its first batch was created; None if that is not known."""
    ended_at: float | None
    """When its last batch ended; None if that is not known."""
    usage: dict[str, int]
    """The tokens that its batches used, by kind, if the provider reports them."""
    parts: list[ReportPart]
    """Its batches."""
    receipt: Receipt | None
    """What it has cost; None if that is not known."""
    faults: list[str]
    """Why batches failed as a whole."""
    tally: Tally = field(default_factory=Tally)
    """How its requests ended, and why."""
    statistics: Statistics = field(default_factory=Statistics)
    """Why answers end, tokens, lengths and times."""
    rows: list[ReportRow] = field(default_factory=list)
    """The first requests with their answers."""

    @property
    def seconds(self) -> float | None:
        """How long it took, from its first batch to the end of the last; None if that is not known."""
        return None if self.sent_at is None or self.ended_at is None else max(0.0, self.ended_at - self.sent_at)

    def to_html(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the report as one page that needs no network, and return its path.

            job.report().to_html("report.html")

        Raises OutputExistsError if there is a file at `path` and `force` is False.
        """
        target = as_file(path)
        try:
            check_target(target, force=force)
        except OutputExistsError as exc:
            exc.hint = "choose another name, or replace a file with force=True"
            raise
        with part_file(target) as (handle, part):
            handle.write(page(self.title, self.lines(), self.record(), self.rows).encode("utf-8", "backslashreplace"))
            publish(handle, part, target, replace=force)
        return target

    @property
    def title(self) -> str:
        """Its heading."""
        return f"Job {self.job}" + (f" ({self.name})" if self.name else "")

    def lines(self, *, local: bool = False) -> list[tuple[str, str]]:
        """Return a summary in a few lines, as labels and texts.

            for label, text in job.report().lines(): ...

        They are those of `obatch report`. Times are in UTC, as ISO 8601. With `local` they are on this machine's clock,
        and those that are not known are left out.
        """
        models = self.model or ", ".join(name for name, _ in self.statistics.models.most_common(3)) or UNKNOWN
        return [
            ("job", f"{self.job}" + (f" ({self.name})" if self.name else "")),
            ("status", self.status),
            ("provider", self.provider),
            ("endpoint", self.endpoint or UNKNOWN),
            ("model", models),
            *tally_lines(self.tally),
            *statistics_lines(self.statistics),
            ("cost", UNKNOWN if self.receipt is None else self.receipt.text),
            *self._times(local=local),
        ]

    def _times(self, *, local: bool) -> list[tuple[str, str]]:
        def text(seconds: float | None) -> str:
            return UNKNOWN if seconds is None else local_time(seconds) if local else str(iso_time(seconds))

        parts = f" in {count_text(len(self.parts), 'part')}" if len(self.parts) > 1 else ""
        lines = [
            ("answered after", durations_text(self.statistics.answered_after)),
            ("sent", text(self.sent_at)),
            ("ended", text(self.ended_at)),
            ("took", UNKNOWN if self.seconds is None else duration_text(self.seconds) + parts),
        ]
        return [line for line in lines if not local or line[1] != UNKNOWN]

    def record(self) -> dict[str, Any]:
        """Return its JSON record, without the rows.

            print(job.report().record()["outcomes"])

        The keys are those of `obatch report --json`.
        """
        return {
            "job": self.job,
            "name": self.name,
            "provider": self.provider,
            "endpoint": self.endpoint,
            "model": self.model,
            "status": self.status,
            "created_at": iso_time(self.created_at),
            "sent_at": iso_time(self.sent_at),
            "ended_at": iso_time(self.ended_at),
            "seconds": self.seconds,
            "usage": self.usage,
            "cost": None if self.receipt is None else self.receipt.record(),
            **tally_record(self.tally),
            **self.statistics.record(),
            "parts": [part.record() for part in self.parts],
            "errors": self.faults,
        }


def tally_lines(tally: Tally) -> list[tuple[str, str]]:
    """Return how requests ended, as labels and texts."""
    ended = [f"{tally.outcomes[each]:,} {OUTCOME_WORDS[each]}" for each in OUTCOMES if tally.outcomes[each]]
    return [("requests", f"{tally.requests:,}"), ("answers", ", ".join(ended))]


def statistics_lines(statistics: Statistics) -> list[tuple[str, str]]:
    """Return what is in results, as labels and texts."""
    reasons = ", ".join(f"{count:,} {name}" for name, count in statistics.finish_reasons.most_common(5))
    return [
        ("finish reasons", reasons or UNKNOWN),
        ("tokens in", numbers_text(statistics.prompt_tokens)),
        ("tokens out", numbers_text(statistics.completion_tokens)),
        ("characters", numbers_text(statistics.characters, total=False)),
    ]


def tally_record(tally: Tally) -> dict[str, Any]:
    """Return the JSON record of how requests ended."""
    return {
        "requests": tally.requests,
        "answered": tally.answered,
        "outcomes": {str(outcome): tally.outcomes[outcome] for outcome in OUTCOMES},
        "causes": causes_record(tally.causes.most_common()[:_CAUSES]),
        "unreadable": tally.unreadable_count,
    }


def causes_record(causes: list[Cause]) -> list[dict[str, Any]]:
    """Return the JSON record of causes."""
    return [asdict(cause) | {"outcome": str(cause.outcome)} for cause in causes]
