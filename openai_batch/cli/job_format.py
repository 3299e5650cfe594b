"""How jobs are printed: the record of `--json`, the columns of `ls`, and the lines of `status`.

The keys of the record are a contract: new ones may be added, none changed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from openai_batch.errors import count_text
from openai_batch.jobs.input_name import source_of
from openai_batch.providers.batch_info import unknown_status

from .progress import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_batch.jobs.store.records import JobRecord

    from .output import CellText, Output


def job_record(job: JobRecord) -> dict[str, Any]:
    """Return a job's JSON record: plain numbers, times in ISO 8601 (UTC), whole ids, null for what is not known."""
    counts = job.counts
    return {
        "id": job.id,
        "name": job.name,
        "provider": job.provider,
        "base_url": job.base_url,
        "status": job.status,
        "reason": job.reason,
        "ended": job.ended,
        "endpoint": job.endpoint,
        "model": job.model,
        "window": job.window,
        "requests": {"total": counts.total, "completed": counts.completed, "failed": counts.failed},
        "reused": job.skipped,
        "answered": job.answered,
        "parts": {"total": len(job.parts), "waiting": job.waiting},
        "batch_ids": job.batch_ids,
        "created_at": iso_time(job.created_at),
        "expires_at": iso_time(job.expires_at),
        "ended_at": iso_time(job.ended_at),
        "input": job.input_path or source_of(job.input_name),
        "input_sha256": job.input_sha256,
        "output": job.output_path,
        "usage": job.usage,
        "errors": [{"code": f.code, "message": f.message, "line": f.line, "param": f.param} for f in job.faults],
        "metadata": job.metadata,
    }


def iso_time(seconds: float | None) -> str | None:
    """Return Unix seconds as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def time_ago(text: str | None) -> str:
    """Return an ISO time relative to now, such as `3 h ago` or `in 2 d`."""
    if text is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    number, unit = duration_text(abs(seconds)).split()[:2]
    return f"{number} {unit} ago" if seconds >= 0 else f"in {number} {unit}"


def done_text(record: dict[str, Any]) -> str:
    """Return how many requests have ended (`12/20, 1 failed`); of an ended job, how many were answered."""
    counts = record["requests"]
    total, done = counts["total"], counts["completed"] + counts["failed"]
    if record["ended"] and not done:
        return f"{total:,}"  # the provider does not count
    if record["ended"] and counts["failed"]:
        return f"{counts['completed']:,}/{total:,} answered"
    return f"{done:,}/{total:,}" + (f", {counts['failed']:,} failed" if counts["failed"] else "")


def _field(key: str) -> CellText:
    """Return a function that gives a value of a record as text."""
    return lambda record: "" if record[key] is None else str(record[key])


# The columns of `ls`: heading, text in a terminal, text in a pipe. A terminal hides columns without text.
JOB_COLUMNS: tuple[tuple[str, CellText, CellText], ...] = (
    ("job", _field("id"), _field("id")),
    ("name", _field("name"), _field("name")),
    ("provider", _field("provider"), _field("provider")),
    ("status", _field("status"), _field("status")),
    ("done", done_text, lambda r: str(r["requests"]["completed"] + r["requests"]["failed"])),
    ("requests", lambda _: "", lambda r: str(r["requests"]["total"])),
    ("model", _field("model"), _field("model")),
    ("created", lambda r: time_ago(r["created_at"]), _field("created_at")),
    ("batch", lambda r: " ".join(r["batch_ids"]), lambda r: " ".join(r["batch_ids"])),
)


def job_lines(job: JobRecord) -> list[tuple[str, str]]:
    """Return the lines of `status` for one job, as labels and values."""
    record = job_record(job)
    usage = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in record["usage"].items() if count)
    lines = [
        ("job", f"{job.id}" + (f" ({job.name})" if job.name else "")),
        ("status", job.status),
        ("reason", job.reason or ""),
        ("provider", job.provider),
        ("endpoint", job.endpoint),
        ("model", job.model or ""),
        ("requests", done_text(record)),
        ("reused", f"{count_text(job.skipped, 'row')}, repeated or answered before" if job.skipped else ""),
        ("parts", f"{len(job.parts) - job.waiting} of {len(job.parts)} sent" if len(job.parts) > 1 else ""),
        ("batch", " ".join(job.batch_ids)),
        ("created", str(record["created_at"] or "")),
        ("expires", "" if job.ended else str(record["expires_at"] or "")),
        ("ended", str(record["ended_at"] or "")),
        ("usage", usage),
        ("input", record["input"] or ""),
        ("output", job.output_path or ""),
    ]
    if job.unknown_status:
        lines.insert(2, ("note", unknown_status(job.unknown_status)))
    return lines + [("error", str(fault)) for fault in job.faults]


def show_job(output: Output, job: JobRecord, *, quiet: str | None = None) -> None:
    """Print one job; with -q only `quiet`, by default its number."""
    output.record(job_record(job), quiet or str(job.id), job_lines(job))


def show_jobs(output: Output, jobs: Iterable[JobRecord], empty: str = "") -> None:
    """Print a table of jobs; with -q their numbers. `empty` is the message if there are none."""
    output.listing([job_record(job) for job in jobs], JOB_COLUMNS, lambda record: str(record["id"]), empty)
