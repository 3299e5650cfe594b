"""Write results to a file, to standard output or as a table on a terminal, and print the summary of the job."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from openai_batch.errors import BatchError, count_text
from openai_batch.jobs.receipt import used_tokens

from .cost_format import short_receipt
from .job_format import job_record, next_command, tokens_text, took_text
from .output import JsonArray, Output, csv_stream, errors, json_stream, print_json

if TYPE_CHECKING:
    from openai_batch.files.stored_file import Target
    from openai_batch.jobs.collect import Collected, CollectOptions
    from openai_batch.jobs.store.records import JobRecord
    from openai_batch.results.export import Export
    from openai_batch.results.result import Judge

    from .session import CommandSession

PREVIEW = 50  # how many results a terminal shows; a file gets all


def deliver(
    current: CommandSession,
    job: JobRecord,
    target: Target | None,
    options: CollectOptions,
    *,
    requests: Path | None = None,
    as_json: bool = False,
    as_asked: bool = False,
) -> Collected:
    """Write a job's results to `target`; None is standard output, where a terminal gets a table.

    With `as_json`, standard output gets one JSON array. With `as_asked`, a terminal gets the form of `options` too,
    unless it is Parquet, which is no text. `requests` is the batch file, for the prompts of the table.
    """
    from openai_batch.jobs.collect import collect
    from openai_batch.jobs.download import download

    if target is None:
        current.reporter.close()  # the results may go to the same terminal
    if target is not None:
        collected = download(current.workflow, job, target, options)
    elif as_json:
        array = JsonArray()
        collected = collect(current.workflow, job, cast("BinaryIO", array), options)
        array.finish()
    elif not sys.stdout.isatty():
        collected = collect(current.workflow, job, sys.stdout.buffer, options)
    elif as_asked and (options.export is None or options.export.form != "parquet"):
        is_csv = options.export is not None and options.export.form == "csv"
        collected = collect(current.workflow, job, csv_stream() if is_csv else json_stream(), options)
    else:
        collected = _show_table(current, job, options, requests)
    current.reporter.close()
    return collected


def _show_table(current: CommandSession, job: JobRecord, options: CollectOptions, requests: Path | None) -> Collected:
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.collect import collect
    from openai_batch.jobs.store.job_folder import judge_of
    from openai_batch.results.outcome import Outcome

    with workspace() as folder:
        path = folder / "results.jsonl"
        with path.open("wb") as handle:
            collected = collect(current.workflow, job, handle, replace(options, export=None))
        current.reporter.close()
        if path.stat().st_size:
            written = collected.tally.requests - collected.tally.outcomes[Outcome.MISSING]
            preview(path, written, _prompts(job, requests), judge_of(job))
    return collected


def preview(path: Path, total: int, prompts: dict[str, str], judge: Judge) -> None:
    """Show the first of `total` results, read by `judge`, on a terminal; `prompts` by custom id, as far as known."""
    with path.open("rb") as handle:
        results = [judge(line) for line in itertools.islice(handle, PREVIEW)]
    rows = [(each.custom_id, prompts.get(each.custom_id, ""), each.ok, _short(each.summary)) for each in results]
    Output().answers(rows, more=max(0, total - len(rows)))


def _prompts(job: JobRecord, requests: Path | None) -> dict[str, str]:
    """Return the first prompts by custom id: from the requests, or else from the rows that they were made of."""
    from openai_batch.inputs.source_rows import read_rows, row_text
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
        return {custom_id: row_text(row) for custom_id, row in rows}


def _short(text: str) -> str:
    """Return JSON on one line, and other text unchanged."""
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.dumps(json.loads(text), ensure_ascii=False)
        except ValueError:
            return text
    return text


def conclude(
    collected: Collected,
    export: Export | None = None,
    *,
    strict: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Print the summary of a job's results. Raises IncompleteError as `raise_if_incomplete` does."""
    from openai_batch.jobs.collect import cause_lines, raise_if_incomplete

    job, tally = collected.job, collected.tally
    if as_json:
        print_json(result_record(collected))
    if export is not None and export.without_fields:
        one = export.without_fields == 1
        why = "has no fields: it is not a JSON object" if one else "have no fields: they are not JSON objects"
        errors.warn(f"{export.without_fields:,} of {count_text(tally.answered, 'answer')} {why}")
    took = took_text(job)
    costs = [tokens_text(used_tokens(job)), short_receipt(job), f"took {took}" if took else ""]
    try:
        raise_if_incomplete(collected, strict=strict)
    except BatchError:
        if not quiet and any(costs):
            errors.note(f"job {job.id}: {'; '.join(filter(None, costs))}")
        raise
    if not quiet:
        where = f"the results are in {collected.path}" if collected.path else ""
        errors.note("; ".join(filter(None, [f"job {job.id} {job.status}: {tally}", *costs, where])))
        errors.details(cause_lines(tally))
        if collected.path:
            partly = f"`obatch retry {job.id} --where refused,cut` sends the refused and cut requests again"
            errors.hint(f"`obatch results {job.id}` shows them" if tally.succeeded else partly)


def result_record(collected: Collected) -> dict[str, Any]:
    """Return the JSON record of a collected job."""
    from openai_batch.report.report import causes_record
    from openai_batch.results.outcome import Outcome
    from openai_batch.results.tally import OUTCOME_WORDS

    tally = collected.tally
    return job_record(collected.job) | {
        "results": {
            "path": str(collected.path) if collected.path else None,
            "requests": tally.requests,
            "answered": tally.answered,
            **{word: tally.outcomes[outcome] for outcome, word in OUTCOME_WORDS.items()},
            "unreadable": tally.unreadable_count,
            "missing_sample": tally.missing,
            "causes": {cause.cause: cause.count for cause in tally.causes.most_common(Outcome.ERROR)[:20]},
            "failures": causes_record(tally.causes.most_common()[:20]),
            "usage": used_tokens(collected.job),
        },
        "next": next_command(collected.job),
    }
