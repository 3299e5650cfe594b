"""Convert jobs and parts to rows of the registry and back."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from openai_batch.files import paths
from openai_batch.files.locks import is_held
from openai_batch.providers.batch_info import BatchFault, Counts

from .records import JobRecord, ListedJob, ListedPart, PartRecord, PartState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

JOB_FIELDS = (
    *("identity", "uid", "name", "provider", "base_url", "account", "endpoint", "window", "model", "metadata"),
    *("created_at", "input_path", "input_sha256", "input_bytes", "requests", "output_path", "answered"),
    *("input_name", "skipped", "used_at", "output_form", "unanswered", "left_out", "max_cost", "deadline"),
    "output_seconds",
)
LISTED_FIELDS = tuple(name for name in ListedJob.__dataclass_fields__ if name not in ("busy", "parts"))


def packed(value: Any) -> Any:
    """Return a value as a column stores it: dicts and lists as JSON, file names that are not valid text as bytes."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return os.fsencode(value)
    return json.dumps(value) if isinstance(value, dict | list) else value


def _unpacked(value: Any) -> Any:
    return os.fsdecode(value) if isinstance(value, bytes) else value


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """Return the column values for some fields of a part."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Counts):
            flat |= {"total": value.total, "completed": value.completed, "failed": value.failed}
        elif name == "faults":
            flat[name] = json.dumps([[f.code, f.message, f.line, f.param] for f in value])
        else:
            flat[name] = packed(value)
    return flat


def read_jobs(db: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[JobRecord]:
    """Return the jobs that these rows store, with their parts. Raises ValueError for a state that does not exist."""
    parts: dict[int, list[PartRecord]] = {row["id"]: [] for row in rows}
    for row in db.execute("SELECT * FROM parts WHERE job BETWEEN ? AND ? ORDER BY job, number", _span(parts)):
        if row["job"] in parts:
            parts[row["job"]].append(read_part(row))
    return [_read_job(row, parts[row["id"]]) for row in rows]


def _read_job(row: sqlite3.Row, parts: list[PartRecord]) -> JobRecord:
    known = row.keys()  # a file of an earlier schema is only changed when it is written
    values = {name: _unpacked(row[name]) for name in JOB_FIELDS if name in known}
    values |= {name: json.loads(values[name]) for name in ("metadata", "output_form") if name in values}
    return JobRecord(id=row["id"], parts=tuple(parts), busy=_is_busy(parts, values["uid"]), **values)


def read_listed(db: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[ListedJob]:
    """Return the jobs whose `LISTED_FIELDS` these rows are, with what a list reads of their parts."""
    parts: dict[int, list[ListedPart]] = {row["id"]: [] for row in rows}
    sql = (
        "SELECT job, number, state, requests, source, batch_id, status, output_file_id, queued,"
        " total, completed, failed"
        " FROM parts WHERE job BETWEEN ? AND ? ORDER BY job, number"
    )
    found = db.execute(sql, _span(parts))
    for job, number, state, requests, source, batch_id, status, output, queued, *counts in found:
        if job in parts:
            known = (requests, source, batch_id, status, Counts(*counts), output, bool(queued))
            parts[job].append(ListedPart(job, number, PartState(state), *known))
    jobs = []
    for row in rows:
        own = tuple(parts[row["id"]])
        values = (*map(_unpacked, row), _is_busy(own, row["uid"]), own)
        jobs.append(ListedJob(*values))
    return jobs


def _span(jobs: Collection[int]) -> tuple[int, int]:
    """Return the lowest and the highest number."""
    return min(jobs, default=0), max(jobs, default=0)


def _is_busy(parts: Sequence[ListedPart], uid: str) -> bool:
    """Return whether a process is sending the parts of a job."""
    try:
        return any(part.unsent for part in parts) and is_held(paths.job_lock(uid))
    except OSError:
        return False


def read_part(row: sqlite3.Row) -> PartRecord:
    """Return the part that a row stores. Raises ValueError for a state that does not exist."""
    values = dict(zip(row.keys(), row, strict=True))
    counts = Counts(values.pop("total"), values.pop("completed"), values.pop("failed"))
    faults = tuple(BatchFault(*fault) for fault in json.loads(values.pop("faults")))
    state, usage = PartState(values.pop("state")), json.loads(values.pop("usage"))
    phases = json.loads(values.pop("phases", "{}"))  # a file of an earlier schema has none
    queued = bool(values.pop("queued"))
    return PartRecord(state=state, counts=counts, faults=faults, usage=usage, phases=phases, queued=queued, **values)
