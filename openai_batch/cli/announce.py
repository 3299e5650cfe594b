"""What a command says about a job before it waits for it: what would be sent, and which job it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .output import counted, errors

if TYPE_CHECKING:
    from openai_batch.jobs.job_spec import JobSpec
    from openai_batch.jobs.reuse import ReusePlan
    from openai_batch.jobs.submit import Submitted

    from .session import CommandSession


def say_dry(current: CommandSession, spec: JobSpec, plan: ReusePlan | None = None) -> None:
    """Say what an spec would do, and what it would leave out as far as that was looked for."""
    from openai_batch.jobs.reuse import estimate

    known = current.workflow.registry.by_identity(spec.identity)
    if known is not None:
        errors.note(f"this is job {known.id}, started before: nothing new would be sent without --again")
        return
    if plan is not None:
        spec = estimate(plan)
    report, slices = spec.batch_file.report, spec.batch_file.slices
    model = f" with model {report.model}" if report.model else ""
    requests = sum(piece.requests for piece in slices)
    if not requests:
        errors.note(f"nothing would be sent: {counted(report.requests, 'row')} were in earlier jobs")
        return
    batches = "a batch" if len(slices) == 1 else f"{len(slices):,} batches"
    errors.note(
        f"would upload {sum(piece.length for piece in slices):,} bytes to {spec.provider} and create {batches} of"
        f" {counted(requests, 'request')} for {report.endpoint}{model}; nothing was sent"
    )
    if words := spared_words(spec):
        errors.note(words)
    if plan is not None and plan.common:
        errors.note("what earlier jobs turn out to have no answer to would be sent as well")


def spared_words(spec: JobSpec) -> str:
    """Say how many rows are not sent, and why; nothing where all are."""
    submit_plan = spec.submit_plan
    if submit_plan is None or not submit_plan.count:
        return ""
    rows = spec.batch_file.report.requests
    reasons = [
        f"{submit_plan.repeated:,} repeated" if submit_plan.repeated else "",
        f"{submit_plan.answered:,} answered before" if submit_plan.answered else "",
    ]
    told = ", ".join(reason for reason in reasons if reason)
    return f"{counted(rows - submit_plan.count, 'request')} for {counted(rows, 'row')} ({told})"


def awaited(file: str) -> str:
    """Return `file`; for standard input at a terminal, say that it is awaited."""
    if file == "-" and sys.stdin.isatty():
        errors.note("reading from the terminal; Ctrl-D ends the input")
    return file


def announce(current: CommandSession, started: Submitted) -> None:
    """Say which job is at work, and which of its rows are not sent."""
    job = started.job
    current.follow(job)
    again = "" if started.new else ", started before; --again starts a new one"
    ids = job.batch_ids
    what = f"batch {ids[0]}" if len(ids) == 1 else f"{len(ids)} batches"
    if not job.parts:
        what = "nothing to send"
    current.reporter.note(f"job {job.id}: {what} at {job.provider}{again}")
    if words := spared_words(started.spec):
        current.reporter.note(f"job {job.id}: {words}")
