"""How the batches at providers are printed, for `ls --remote`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_batch.report.texts import iso_time

from .job_format import time_ago
from .table import Column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_batch.jobs.remote_batches import RemoteBatch

    from .output import Output


def _record(batch: RemoteBatch) -> dict[str, Any]:
    info = batch.info
    return {
        "batch": info.id,
        "provider": batch.provider,
        "status": info.status,
        "requests": {"total": info.counts.total, "completed": info.counts.completed, "failed": info.counts.failed},
        "model": info.model,
        "endpoint": info.endpoint,
        "created_at": iso_time(info.created_at),
        "expires_at": iso_time(info.expires_at),
        "job": None if batch.job is None else batch.job.id,
        "ours": batch.ours,
    }


def _done(record: dict[str, Any]) -> str:
    counts = record["requests"]
    failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
    return f"{counts['completed'] + counts['failed']:,}/{counts['total']:,}{failed}" if counts["total"] else ""


def _job(record: dict[str, Any]) -> str:
    return str(record["job"] or ("not here" if record["ours"] else "none"))


def _text(key: str) -> Any:
    return lambda record: str(record[key] or "")


def _count(*kinds: str) -> Any:
    return lambda record: str(sum(record["requests"][kind] for kind in kinds))


# The columns in a terminal, which hides those without text, and in a pipe.
_COLUMNS = (
    Column("batch", _text("batch"), _text("batch")),
    Column("provider", _text("provider"), _text("provider"), optional=True),
    Column("status", _text("status"), _text("status")),
    Column("done", _done, _count("completed", "failed")),
    Column("", None, _count("total")),
    Column("model", _text("model"), _text("model"), cut=True, optional=True),
    Column("age", lambda record: time_ago(record["created_at"]).removesuffix(" ago"), _text("created_at")),
    Column("job", _job, _text("job")),
)


def show_remote(output: Output, batches: Iterable[RemoteBatch]) -> None:
    """Print batches: in a pipe each page as it comes."""
    records = map(_record, batches)
    if output.as_json or output.terminal:
        output.listing(list(records), _COLUMNS, "batch", "no batches there")
    elif output.quiet:
        output.lines(record["batch"] for record in records)
    else:
        output.rows([text(record) for column in _COLUMNS if (text := column.machine)] for record in records)
