"""Messages about a job before its results: what a dry run would send, which job was started, which rows are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import count_text, errors

if TYPE_CHECKING:
    from openai_batch.jobs.job_spec import JobSpec
    from openai_batch.jobs.reuse import ReusePlan
    from openai_batch.jobs.submit import Submitted

    from .session import CommandSession


def show_dry_run(current: CommandSession, spec: JobSpec, plan: ReusePlan | None = None) -> None:
    """Say what submitting `spec` would send; `plan` has the rows that need not be sent, if they were looked for."""
    from openai_batch.jobs.reuse import estimate
    from openai_batch.jobs.submit import started_before

    known = started_before(current.workflow, spec)
    if known is not None:
        errors.note(f"this is job {known.id}, started before; nothing new would be sent without --again")
        return
    if plan is not None:
        spec = estimate(plan)
    report, slices = spec.batch_file.report, spec.batch_file.slices
    model = f" with model {report.model}" if report.model else ""
    requests = sum(piece.requests for piece in slices)
    if not requests:
        errors.note(f"nothing would be sent: {count_text(report.requests, 'row')} were in earlier jobs")
        return
    batches = "a batch" if len(slices) == 1 else f"{len(slices):,} batches"
    errors.note(
        f"would upload {sum(piece.length for piece in slices):,} bytes to {spec.provider} and create {batches} of"
        f" {count_text(requests, 'request')} for {report.endpoint}{model}; nothing was sent"
    )
    if text := skipped_rows_text(spec):
        errors.note(text)
    if plan is not None and plan.common:
        errors.note("rows that earlier jobs did not answer would be sent as well")


def skipped_rows_text(spec: JobSpec) -> str:
    """Return how many rows are not sent, and why; an empty text if all rows are sent."""
    submit_plan = spec.submit_plan
    if submit_plan is None or not submit_plan.count:
        return ""
    rows = spec.batch_file.report.requests
    reasons = [
        f"{submit_plan.repeated:,} repeated" if submit_plan.repeated else "",
        f"{submit_plan.answered:,} answered before" if submit_plan.answered else "",
    ]
    why = ", ".join(reason for reason in reasons if reason)
    return f"{count_text(rows - submit_plan.count, 'request')} for {count_text(rows, 'row')} ({why})"


def announce(current: CommandSession, started: Submitted) -> None:
    """Say which job was started or continued, and how many of its rows are not sent."""
    job = started.job
    current.follow(job)
    again = "" if started.new else ", started before; --again starts a new one"
    ids = job.batch_ids
    what = f"batch {ids[0]}" if len(ids) == 1 else f"{len(ids)} batches"
    if not job.parts:
        what = "nothing to send"
    current.reporter.note(f"job {job.id}: {what} at {job.provider}{again}")
    if text := skipped_rows_text(started.spec):
        current.reporter.note(f"job {job.id}: {text}")
