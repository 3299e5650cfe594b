"""Results on their way out: to a file, to a pipe, or as a table to a person; and what is said of them."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .output import Output, errors
from .records import job_record

if TYPE_CHECKING:
    from openai_batch._collect import Collected
    from openai_batch._jobs import Job

    from .session import Session

PREVIEW = 50
"""Results shown to a person; a file takes them all."""


def deliver(
    current: Session,
    job: Job,
    target: Path | BinaryIO,
    *,
    force: bool = False,
    missing: str | None = None,
    requests: Path | None = None,
) -> Collected:
    """Collect a job's results into `target`; a terminal gets a table. What is there already is not fetched again."""
    from openai_batch._collect import Collected, collect
    from openai_batch._results import Tally

    rest = Path(missing).expanduser() if missing else None
    if isinstance(target, Path):
        if not force and job.output_path == str(target.absolute()) and target.exists() and job.succeeded is not None:
            current.reporter.note(f"job {job.id} was downloaded before")
            failed = job.requests - job.succeeded
            if rest is not None and failed:
                with Path(os.devnull).open("wb") as nowhere:
                    collect(current.flow, job, nowhere, missing=rest)
                current.reporter.close()
            return Collected(job, target, Tally(requests=job.requests, succeeded=job.succeeded, failed=failed))
        collected = collect(current.flow, job, target, force=force, missing=rest)
        current.reporter.close()
        return collected
    if not sys.stdout.isatty():
        return collect(current.flow, job, target, missing=rest)
    from openai_batch._inputs import workspace

    with workspace() as folder:
        path = folder / "results.jsonl"
        with path.open("wb") as handle:
            collected = collect(current.flow, job, handle, missing=rest)
        current.reporter.close()
        if path.stat().st_size:
            preview(path, collected.tally.requests, requests)
    return collected


def preview(path: Path, total: int, requests: Path | None) -> None:
    """Show the first results to a person, beside what was asked where the requests are at hand."""
    from openai_batch._results import answer_text, prompt_text

    asked: dict[str, str] = {}
    if requests is not None:
        with requests.open("rb") as handle:
            asked = dict(prompt_text(line) for line in itertools.islice(handle, PREVIEW))
    with path.open("rb") as handle:
        answers = [answer_text(line) for line in itertools.islice(handle, PREVIEW)]
    rows = [(custom_id, asked.get(custom_id, ""), success, _short(text)) for custom_id, success, text in answers]
    Output().answers(rows, more=max(0, total - len(rows)))


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
