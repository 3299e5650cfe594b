"""Results on their way out: to a file, to a pipe, or as a table to a person; and what is said of them."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from openai_batch.errors import UsageError

from .output import Output, errors
from .records import job_record

if TYPE_CHECKING:
    from openai_batch._collect import Collected
    from openai_batch._export import Export
    from openai_batch._jobs import Job
    from openai_batch._order import Earlier

    from .session import Session

PREVIEW = 50
"""Results shown to a person; a file takes them all."""


def deliver(
    current: Session,
    job: Job,
    target: Path | BinaryIO,
    *,
    force: bool = False,
    earlier: Earlier | None = None,
    missing: str | None = None,
    requests: Path | None = None,
    export: Export | None = None,
) -> Collected:
    """Collect a job's results into `target`; a terminal gets a table. What is there already is not fetched again.

    An export is made anew, as its options may be other ones now; the same bytes are not published twice.
    """
    from openai_batch._collect import Collected, collect
    from openai_batch._jobfiles import columns_of
    from openai_batch._tally import Tally

    if export is not None:
        export.columns = columns_of(job)
    rest = Path(missing).expanduser() if missing else None
    if isinstance(target, Path):
        before = job.output_path == str(target.absolute()) and target.exists() and job.collected
        if before and not force and export is None:
            current.reporter.note(f"job {job.id} was downloaded before")
            succeeded = job.succeeded or 0
            failed = job.requests - succeeded
            if rest is not None and failed:
                with Path(os.devnull).open("wb") as nowhere:
                    collect(current.flow, job, nowhere, missing=rest)
                current.reporter.close()
            return Collected(job, target, Tally(requests=job.requests, succeeded=succeeded, failed=failed))
        collected = collect(current.flow, job, target, force=force, earlier=earlier, missing=rest, export=export)
        current.reporter.close()
        return collected
    if not sys.stdout.isatty():
        return collect(current.flow, job, target, missing=rest, export=export)
    from openai_batch._inputs import workspace

    with workspace() as folder:
        path = folder / "results.jsonl"
        with path.open("wb") as handle:
            collected = collect(current.flow, job, handle, missing=rest)
        current.reporter.close()
        if path.stat().st_size:
            preview(path, collected.tally.requests, _asked(job, requests))
    return collected


def make_export(
    output: str | None, form: str | None, *, fields: bool, inert: bool, default: str = "raw"
) -> Export | None:
    """Return what writes results in the form that is asked for; None for the provider's own lines.

    Raises UsageError where the options do not fit each other.
    """
    from openai_batch._export import RAW, Export, form_of

    wanted = form_of(output, form, default)
    if wanted != RAW:
        return Export(wanted, fields=fields, safe=inert)
    if fields:
        raise UsageError(
            "--fields is for rows, and the provider's own lines are none", hint="-o NAME.csv, or add --as rows"
        )
    return None


def preview(path: Path, total: int, asked: dict[str, str]) -> None:
    """Show the first results to a person; `asked` is what was asked, by id, where that is at hand."""
    from openai_batch._results import answer_text

    with path.open("rb") as handle:
        answers = [answer_text(line) for line in itertools.islice(handle, PREVIEW)]
    rows = [(custom_id, asked.get(custom_id, ""), success, _short(text)) for custom_id, success, text in answers]
    Output().answers(rows, more=max(0, total - len(rows)))


def _asked(job: Job, requests: Path | None) -> dict[str, str]:
    """Return what was asked first, by id: from the requests, or else from the rows that they were made of."""
    from openai_batch._columns import read_rows
    from openai_batch._jobfiles import columns_of, has_ids, read_ids
    from openai_batch._results import prompt_text

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
    """Say what became of the requests. Raises IncompleteError unless every one has a success."""
    from openai_batch._collect import verdict

    job, tally = collected.job, collected.tally
    if as_json:
        Output(as_json=True).record(result_record(collected), "", [])
    verdict(collected)
    if not quiet:
        tokens = job.usage.get("total_tokens")
        used = f", {tokens:,} tokens" if tokens else ""
        where = f"; the results are in {collected.path}" if collected.path else ""
        errors.note(
            f"job {job.id} {job.status}: {tally.succeeded:,} of {tally.requests:,} requests have a success{used}{where}"
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
