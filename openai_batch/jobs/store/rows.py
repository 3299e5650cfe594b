"""Convert jobs and parts to rows of the registry and back."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from openai_batch.providers.batch_info import BatchFault, Counts

from .records import JobRecord, PartRecord, PartState

if TYPE_CHECKING:
    import sqlite3

JOB_FIELDS = (
    *("identity", "uid", "name", "provider", "base_url", "endpoint", "window", "model", "metadata", "created_at"),
    *("input_path", "input_sha256", "input_bytes", "requests", "output_path", "answered"),
    *("input_name", "skipped"),
)


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


def read_job(row: sqlite3.Row, parts: list[PartRecord]) -> JobRecord:
    """Return the job that a row stores, with these parts."""
    values = {name: _unpacked(row[name]) for name in JOB_FIELDS}
    values["metadata"] = json.loads(values["metadata"])
    return JobRecord(id=row["id"], parts=tuple(parts), **values)


def read_part(row: sqlite3.Row) -> PartRecord:
    """Return the part that a row stores. Raises ValueError for a state that does not exist."""
    values = dict(zip(row.keys(), row, strict=True))
    counts = Counts(values.pop("total"), values.pop("completed"), values.pop("failed"))
    faults = tuple(BatchFault(*fault) for fault in json.loads(values.pop("faults")))
    state, usage = PartState(values.pop("state")), json.loads(values.pop("usage"))
    return PartRecord(state=state, counts=counts, faults=faults, usage=usage, **values)
