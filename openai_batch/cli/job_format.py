"""A job as `--json` prints it, and as tables show it. The keys are a contract: they are added to, never changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .output import counted
from .progress import span

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_batch.jobs.store.records import JobRecord


def job_record(job: JobRecord) -> dict[str, Any]:
    """Return a job's JSON record: numbers raw, times ISO 8601 in UTC, ids whole, null where nothing is known."""
    counts = job.counts
    return {
        "id": job.id,
        "name": job.name,
        "provider": job.provider,
        "base_url": job.base_url,
        "status": job.status,
        "ended": job.ended,
        "endpoint": job.endpoint,
        "model": job.model,
        "window": job.window,
        "requests": {"total": counts.total, "completed": counts.completed, "failed": counts.failed},
        "spared": job.skipped,
        "succeeded": job.succeeded,
        "parts": {"total": len(job.parts), "waiting": job.waiting},
        "batch_ids": job.batch_ids,
        "created_at": when(job.created_at),
        "expires_at": when(job.expires_at),
        "ended_at": when(job.ended_at),
        "input": job.input_path,
        "input_sha256": job.input_sha256,
        "output": job.output_path,
        "usage": job.usage,
        "errors": [{"code": f.code, "message": f.message, "line": f.line, "param": f.param} for f in job.faults],
        "metadata": job.metadata,
    }


def when(seconds: float | None) -> str | None:
    """Return Unix seconds as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def ago(text: str | None) -> str:
    """Return how long ago an ISO time was, or how long until it."""
    if text is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    number, unit = span(abs(seconds)).split()[:2]
    return f"{number} {unit} ago" if seconds >= 0 else f"in {number} {unit}"


def done_words(record: dict[str, Any]) -> str:
    """Return how many of a job's requests are through, and how many of them failed."""
    counts = record["requests"]
    text = f"{counts['completed'] + counts['failed']:,}/{counts['total']:,}"
    return f"{text}, {counts['failed']:,} failed" if counts["failed"] else text


def _plain(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda record: "" if record[key] is None else str(record[key])


JOB_COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str], Callable[[dict[str, Any]], str]], ...] = (
    ("job", _plain("id"), _plain("id")),
    ("name", _plain("name"), _plain("name")),
    ("provider", _plain("provider"), _plain("provider")),
    ("status", _plain("status"), _plain("status")),
    ("done", done_words, lambda r: str(r["requests"]["completed"] + r["requests"]["failed"])),
    ("requests", lambda _: "", lambda r: str(r["requests"]["total"])),
    ("model", _plain("model"), _plain("model")),
    ("created", lambda r: ago(r["created_at"]), _plain("created_at")),
    ("batch", lambda r: " ".join(r["batch_ids"]), lambda r: " ".join(r["batch_ids"])),
)


def job_lines(job: JobRecord) -> list[tuple[str, str]]:
    """Return what `status` tells of one job, as labels and values."""
    record = job_record(job)
    usage = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in record["usage"].items() if count)
    lines = [
        ("job", f"{job.id}" + (f" ({job.name})" if job.name else "")),
        ("status", job.status),
        ("provider", job.provider),
        ("endpoint", job.endpoint),
        ("model", job.model or ""),
        ("requests", done_words(record)),
        ("not sent", f"{counted(job.skipped, 'row')}, repeated or answered before" if job.skipped else ""),
        ("parts", f"{len(job.parts) - job.waiting} of {len(job.parts)} sent" if len(job.parts) > 1 else ""),
        ("batch", " ".join(job.batch_ids)),
        ("created", str(record["created_at"] or "")),
        ("expires", "" if job.ended else str(record["expires_at"] or "")),
        ("ended", str(record["ended_at"] or "")),
        ("usage", usage),
        ("input", job.input_path or ""),
        ("output", job.output_path or ""),
    ]
    return lines + [("error", str(fault)) for fault in job.faults]
