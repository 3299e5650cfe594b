"""How jobs are printed: the record of `--json`, the columns of `ls`, and the lines of `status`.

The keys of the record and the columns in a pipe are a contract: new ones may be added, none changed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from openai_batch.costs.usd import usd
from openai_batch.errors import count_text
from openai_batch.jobs.input_name import source_of
from openai_batch.jobs.receipt import receipt_of, used_tokens
from openai_batch.providers.batch_info import PHASES, unknown_status
from openai_batch.report.texts import duration_text, iso_time, local_time

from .output import errors
from .table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_batch.jobs.store.records import JobRecord, ListedJob

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
        "phases": {phase: iso_time(job.phases.get(phase)) for phase in PHASES},
        "files_expire_at": iso_time(job.files_expire_at),
        "deadline_at": iso_time(job.deadline),
        "seconds": took(job),
        "input": job.input_path or source_of(job.input_name),
        "input_sha256": job.input_sha256,
        "output": job.output_path,
        "usage": job.usage,
        "cost": None if (receipt := receipt_of(job)) is None else receipt.record(),
        "max_cost_usd": None if job.max_cost is None else float(job.max_cost),
        "errors": [{"code": f.code, "message": f.message, "line": f.line, "param": f.param} for f in job.faults],
        "metadata": job.metadata,
    }


# How many parts `status` shows.
_PARTS = 10


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


def _file_name(key: str) -> CellText:
    """Return a function that gives the name of a record's file, without its folder."""
    return lambda record: PurePath(record[key] or "").name


def _answered(record: dict[str, Any]) -> str:
    """Return how many requests were answered, of how many: `18/20`."""
    counts = record["requests"]
    unknown = record["ended"] and not counts["completed"] + counts["failed"]  # the provider does not count
    return f"{counts['total']:,}" if unknown else f"{counts['completed']:,}/{counts['total']:,}"


def _without_answer(record: dict[str, Any]) -> str:
    failed = record["requests"]["failed"]
    return f"{failed:,}" if failed else ""


# The columns of `ls` in a terminal, which hides those without text.
JOB_COLUMNS = (
    Column("job", _field("id"), None),
    Column("name", _field("name"), None, cut=True),
    Column("model", _field("model"), None, cut=True),
    Column("done", _answered, None),
    Column("missing", _without_answer, None, style="red"),
    Column("status", _field("status"), None),
    Column("age", lambda r: time_ago(r["created_at"]).removesuffix(" ago"), None),
    Column("provider", _field("provider"), None, cut=True, optional=True),
    Column("input", _file_name("input"), None, cut=True, optional=True),
    Column("output", _file_name("output"), None, cut=True, optional=True),
)


def _pipe_cells(job: ListedJob) -> tuple[str, ...]:
    """Return the columns of `ls` in a pipe: nothing else is computed, since there may be thousands of jobs."""
    counts = job.counts
    return (
        str(job.id),
        job.name or "",
        job.provider,
        job.status,
        str(counts.completed + counts.failed),
        str(counts.total),
        job.model or "",
        iso_time(job.created_at) or "",
        " ".join(job.batch_ids),
    )


def tokens_text(usage: dict[str, int]) -> str:
    """Return the tokens that were used, such as `1,200 tokens in, 80 out`; an empty text if they are not known."""
    tokens_in = usage.get("input_tokens") or usage.get("prompt_tokens")
    tokens_out = usage.get("output_tokens") or usage.get("completion_tokens")
    if tokens_in or tokens_out:
        return f"{count_text(tokens_in or 0, 'token')} in, {tokens_out or 0:,} out"
    total = usage.get("total_tokens")
    return count_text(total, "token") if total else ""


def took(job: JobRecord) -> float | None:
    """Return how many seconds an ended job took; None if that is not known."""
    return None if job.sent_at is None or job.ended_at is None else max(0.0, job.ended_at - job.sent_at)


def took_text(job: JobRecord) -> str:
    """Return how long an ended job took, from its first batch to the end of the last; an empty text if unknown."""
    seconds = took(job) or 0
    return duration_text(seconds) if seconds >= 1 else ""


def next_command(job: JobRecord) -> str:
    """Return what to do with a job now, as a hint."""
    if job.not_sent:
        return "run the same command again to send it"
    if not job.ended:
        return f"obatch wait {job.id}"
    if not job.collected:
        return f"obatch download {job.id}"
    return f"obatch retry {job.id}" if job.incomplete else f"obatch results {job.id}"


def _moment(seconds: float | None, note: str = "") -> str:
    """Return a time as a terminal shows it: on this machine's clock, and how long ago that is."""
    if seconds is None:
        return ""
    return f"{local_time(seconds)} ({time_ago(iso_time(seconds))}{note})"


def _part_lines(job: JobRecord) -> list[tuple[str, str]]:
    """Return a line for each of the first parts of a job that has several."""
    texts = []
    for part in job.parts[:_PARTS]:
        state = part.status or ("waiting" if part.unsent else str(part.state))
        text = f"{state:<11} {part.counts.completed:,}/{part.requests:,}"
        if part.created_at is not None and part.ended_at is not None:
            text += f" in {duration_text(max(0.0, part.ended_at - part.created_at))}"
        texts.append((f"part {part.number}", text))
    more = len(job.parts) - _PARTS
    return [] if len(job.parts) == 1 else texts + ([("", f"… and {more:,} more parts")] if more > 0 else [])


def _times(job: JobRecord, *, terminal: bool) -> list[tuple[str, str]]:
    """Return the times of a job: on a terminal as people read them, in a pipe in ISO 8601."""
    expires_at = None if job.ended else job.expires_at
    times = [("created", job.created_at), ("sent", job.sent_at)]
    times += [(phase.replace("_", " "), moment) for phase, moment in job.phases.items()]
    times += [("expires", expires_at), ("deadline", job.deadline)]
    times += [("ended", job.ended_at), ("files expire", job.files_expire_at)]
    if not terminal:
        return [(label, iso_time(moment) or "") for label, moment in times]
    note = f", took {took_text(job)}" if took_text(job) else ""
    return [(label, _moment(at, note if label == "ended" else "")) for label, at in times]


def job_lines(job: JobRecord, *, terminal: bool = False) -> list[tuple[str, str]]:
    """Return the lines of `status` for one job, as labels and values."""
    record = job_record(job)
    sent = sum(not (part.unsent or part.withdrawn) for part in job.parts)
    lines = [
        ("job", f"{job.id}" + (f" ({job.name})" if job.name else "")),
        ("status", job.status),
        ("reason", job.reason or ""),
        ("provider", job.provider),
        ("endpoint", job.endpoint),
        ("model", job.model or ""),
        ("requests", done_text(record)),
        ("reused", f"{count_text(job.skipped, 'row')}, repeated or answered before" if job.skipped else ""),
        ("parts", f"{sent} of {len(job.parts)} sent" if len(job.parts) > 1 else ""),
        ("batch", " ".join(job.batch_ids)),
        *(_part_lines(job) if terminal else []),
        *_times(job, terminal=terminal),
        ("usage", tokens_text(used_tokens(job))),
        ("cost", "" if (receipt := receipt_of(job)) is None else receipt.text),
        ("max cost", "" if job.max_cost is None else usd(Decimal(job.max_cost))),
        ("input", record["input"] or ""),
        ("output", job.output_path or ""),
        ("planned output", "" if job.output_path else str(job.output_form.get("output") or "")),
    ]
    if job.unknown_status:
        lines.insert(2, ("note", unknown_status(job.unknown_status)))
    return lines + [("error", str(fault)) for fault in job.faults]


def show_job(output: Output, job: JobRecord, *, quiet: str | None = None) -> None:
    """Print one job; with -q only `quiet`, by default its number."""
    output.record(job_record(job), quiet or str(job.id), job_lines(job, terminal=output.terminal))


def show_jobs(output: Output, jobs: Sequence[JobRecord], empty: str = "") -> None:
    """Print a table of jobs; with -q their numbers. `empty` is the message if there are none."""
    if output.as_json or output.terminal:
        output.listing([job_record(job) for job in jobs], JOB_COLUMNS, "id", empty)
    else:
        list_jobs(output, jobs, empty)


def list_jobs(output: Output, jobs: Sequence[ListedJob], empty: str = "") -> None:
    """Print the jobs as a pipe gets them; with -q their numbers."""
    if output.quiet:
        output.lines(str(job.id) for job in jobs)
    elif jobs:
        output.rows(map(_pipe_cells, jobs))
    else:
        errors.note(empty)
