"""Make the report of a job, in one pass over its results. Only counts and the first answers are in memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError
from openai_batch.files import paths
from openai_batch.hidden_keys import beginning
from openai_batch.inputs.source_rows import read_rows, row_text
from openai_batch.report.report import Report, ReportPart, ReportRow
from openai_batch.results.outcome import Outcome
from openai_batch.results.result import Result
from openai_batch.results.result_line import UNREADABLE, prompt_text

from .collect import result_lines
from .receipt import receipt_of, used_tokens
from .store import job_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.results.outcome import Verdict

    from .store.records import JobRecord
    from .workflow import Workflow

ROWS = 10_000  # how many answers are in a report
_PROMPT, _ANSWER = 300, 1000  # characters of each prompt and answer


def report(workflow: Workflow, job: JobRecord) -> Report:
    """Return the report of an ended job. Raises BatchError if it still runs, and the errors of `result_lines`."""
    job = workflow.ended(job)
    made = _of_record(job)
    span = None if made.sent_at is None or made.ended_at is None else (made.sent_at, made.ended_at)
    scratch = paths.private_dir(paths.state_dir() / "spool") / "report"

    judge = job_folder.judge_of(job)
    with contextlib.ExitStack() as stack:
        prompts = _prompts(job, stack)

        def keep(result: Result) -> None:
            if len(made.rows) < ROWS:
                answer, prompt = beginning(result.summary, _ANSWER), beginning(next(prompts, ""), _PROMPT)
                made.rows.append(ReportRow(result.custom_id, str(result.outcome), prompt, answer))

        def note(_row: int, custom_id: str, verdict: Verdict) -> None:
            if verdict.outcome is Outcome.MISSING:
                keep(Result.missing(custom_id, verdict))

        for line in result_lines(workflow, job, scratch, made.tally, note):
            result = judge(line)
            made.statistics.add(result, span)
            keep(result)
    job = workflow.registry.job(job.id)  # the tokens of its results have just been counted
    made.usage, made.receipt = used_tokens(job), receipt_of(job)
    return made


def _of_record(job: JobRecord) -> Report:
    """Return a report with what the registry knows."""
    return Report(
        job=job.id,
        name=job.name,
        provider=job.provider,
        endpoint=job.endpoint,
        model=job.model,
        status=job.status,
        created_at=job.created_at,
        sent_at=job.sent_at,
        ended_at=job.ended_at,
        usage=used_tokens(job),
        receipt=receipt_of(job),
        parts=[
            ReportPart(
                number=part.number,
                batch_id=part.batch_id,
                status=part.status,
                requests=part.requests,
                completed=part.counts.completed,
                failed=part.counts.failed,
                retry=part.sent_again,
                created_at=part.created_at,
                ended_at=part.ended_at,
            )
            for part in job.parts
        ],
        faults=[str(fault) for fault in job.faults],
    )


def _prompts(job: JobRecord, stack: contextlib.ExitStack) -> Iterator[str]:
    """Yield the prompts in the order of the rows, from the table or the requests; nothing if both are gone."""
    if not job_folder.has_ids(job):
        return
    if (columns := job_folder.columns_of(job)) is not None:
        yield from map(row_text, read_rows(stack.enter_context(columns.open("rb"))))
        return
    with contextlib.suppress(BatchError):  # the input is gone, or has changed
        source = job_folder.check_input(job)
        with contextlib.suppress(*UNREADABLE):
            yield from (prompt_text(line)[1] for line in stack.enter_context(source.open("rb")))
