"""Results on their way out: to a file, to a pipe, or as a table to a person; and what is said of them."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .job_format import job_record
from .output import Output, errors

if TYPE_CHECKING:
    from openai_batch.jobs.collect import Collected
    from openai_batch.jobs.store.records import EarlierJobs, JobRecord
    from openai_batch.results.export import Export

    from .session import CommandSession

PREVIEW = 50
"""Results shown to a person; a file takes them all."""


def deliver(
    current: CommandSession,
    job: JobRecord,
    target: Path | None,
    *,
    force: bool = False,
    earlier: EarlierJobs | None = None,
    missing: Path | None = None,
    requests: Path | None = None,
    export: Export | None = None,
) -> Collected:
    """Write a job's results to `target`, or to standard output for None; a terminal gets a table there."""
    from openai_batch.jobs.collect import collect
    from openai_batch.jobs.download import download

    if target is not None:
        collected = download(
            current.workflow, job, target, force=force, earlier=earlier, missing=missing, export=export
        )
    elif sys.stdout.isatty():
        collected = _show_table(current, job, missing, requests)
    else:
        collected = collect(current.workflow, job, sys.stdout.buffer, missing=missing, export=export)
    current.reporter.close()
    return collected


def _show_table(current: CommandSession, job: JobRecord, missing: Path | None, requests: Path | None) -> Collected:
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.collect import collect

    with workspace() as folder:
        path = folder / "results.jsonl"
        with path.open("wb") as handle:
            collected = collect(current.workflow, job, handle, missing=missing)
        current.reporter.close()
        if path.stat().st_size:
            preview(path, collected.tally.requests, _asked(job, requests))
    return collected


def preview(path: Path, total: int, asked: dict[str, str]) -> None:
    """Show the first results to a person; `asked` is what was asked, by id, where that is at hand."""
    from openai_batch.results.result_line import answer_text

    with path.open("rb") as handle:
        answers = [answer_text(line) for line in itertools.islice(handle, PREVIEW)]
    rows = [(custom_id, asked.get(custom_id, ""), success, _short(text)) for custom_id, success, text in answers]
    Output().answers(rows, more=max(0, total - len(rows)))


def _asked(job: JobRecord, requests: Path | None) -> dict[str, str]:
    """Return what was asked first, by id: from the requests, or else from the rows that they were made of."""
    from openai_batch.inputs.source_rows import read_rows
    from openai_batch.jobs.store.job_folder import columns_of, has_ids, read_ids
    from openai_batch.results.result_line import prompt_text

    if requests is not None:
        with requests.open("rb") as handle:
            return dict(prompt_text(line) for line in itertools.islice(handle, PREVIEW))
    columns = columns_of(job)
    if columns is None or not has_ids(job):
        return {}
    with columns.open("rb") as handle:
        rows = itertools.islice(zip(read_ids(job), read_rows(handle), strict=False), PREVIEW)
        return {custom_id: _text(row) for custom_id, row in rows}


def _text(row: dict[str, Any]) -> str:
    """Return what a person may know a row by."""
    value = next((row[name] for name in ("prompt", "text") if row.get(name)), None)
    if value is None:
        value = next(iter(row.values()), "") if len(row) == 1 else row
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    """Return JSON on one line, and any other text as it is."""
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.dumps(json.loads(text), ensure_ascii=False)
        except ValueError:
            return text
    return text


def conclude(collected: Collected, *, as_json: bool = False, quiet: bool = False) -> None:
    """Print how many requests succeeded. Raises IncompleteError unless all did."""
    from openai_batch.jobs.collect import raise_if_incomplete

    job, tally = collected.job, collected.tally
    if as_json:
        Output(as_json=True).record(result_record(collected), "", [])
    raise_if_incomplete(collected)
    if not quiet:
        tokens = job.usage.get("total_tokens")
        used = f", {tokens:,} tokens" if tokens else ""
        where = f"; the results are in {collected.path}" if collected.path else ""
        errors.note(
            f"job {job.id} {job.status}: {tally.succeeded:,} of {tally.requests:,} requests succeeded{used}{where}"
        )


def result_record(collected: Collected) -> dict[str, Any]:
    """Return the JSON record of a collected job."""
    tally = collected.tally
    return job_record(collected.job) | {
        "results": {
            "path": str(collected.path) if collected.path else None,
            "requests": tally.requests,
            "succeeded": tally.succeeded,
            "failed": tally.failed,
            "missing": tally.missing_count,
            "missing_sample": tally.missing,
            "causes": dict(tally.causes.most_common(20)),
        }
    }
