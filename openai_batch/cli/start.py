"""Start a job, and say what is sent, what a dry run would send, and which job it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_batch.errors import count_text

from .cost_format import estimate_record, estimate_text
from .job_format import job_record
from .output import errors, print_json
from .progress import progress_text

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.inputs.prepare import Prepared
    from openai_batch.jobs.dry_run import DryRun
    from openai_batch.jobs.job_spec import JobSpec, SubmitOptions
    from openai_batch.jobs.submit import Submitted
    from openai_batch.requests.check_report import CheckReport

    from .session import CommandSession


_MODELS = 3  # how many models are named


def start(
    current: CommandSession,
    spec: JobSpec,
    folder: Path,
    options: SubmitOptions,
    prepared: Prepared | None = None,
    *,
    dry_run: bool,
    as_json: bool,
) -> Submitted | None:
    """Start the job that `spec` describes, or continue it. With `dry_run`, show what this would do, and return None."""
    from openai_batch.jobs.dry_run import dry_run as predict
    from openai_batch.jobs.submit import submit

    _show_requests(current, spec, prepared)
    if dry_run:
        current.reporter.close()
        _show_dry_run(predict(current.workflow, spec, folder, options), as_json=as_json)
        if options.check_remote and not as_json:
            errors.note(f"before that, the batches of {spec.provider} would be listed, to find this job there")
        return None
    current.reporter.busy(f"connecting to {spec.provider}")
    return submit(current.workflow, spec, folder, options, current.follow)


def _show_requests(current: CommandSession, spec: JobSpec, prepared: Prepared | None) -> None:
    """Say what is about to be sent: how many prompts or requests, from which column, and the model.

    `prepared` says what was made of the rows of a table; None for ready requests.
    """
    report = spec.batch_file.report
    noun = "request" if prepared is None else "prompt"
    source = f" from column {prepared.column}" if prepared is not None and prepared.column else ""
    skipped = (
        f", {count_text(prepared.skipped, 'empty row')} skipped" if prepared is not None and prepared.skipped else ""
    )
    named = f", {_models_text(report)}" if report.models else ""
    current.reporter.note(f"{count_text(report.requests, noun)}{source}{named}{skipped}")


def _models_text(report: CheckReport) -> str:
    """Return the models of requests, of many the first ones."""
    names = ", ".join(list(report.models)[:_MODELS]) + (", …" if len(report.models) > _MODELS else "")
    return f"{'model' if len(report.models) == 1 else 'models'} {names}"


def _show_dry_run(dry: DryRun, *, as_json: bool) -> None:
    """Say what the same command without --dry-run would do."""
    if as_json:
        print_json(_dry_run_record(dry))
        return
    spec, job = dry.spec, dry.job
    report = spec.batch_file.report
    this = "" if job is None else f"this is job {job.id} ({progress_text(job)}): "
    if dry.unclear:
        errors.note(f"{this}it is unknown whether a batch was created; the provider's list would be checked first")
        this = ""
    if dry.parts:
        model = f" with {_models_text(report)}" if report.models else ""
        batches = "a batch" if len(dry.parts) == 1 else count_text(len(dry.parts), "batch")
        errors.note(
            f"{this}would upload {count_text(dry.upload_bytes, 'byte')} to {spec.provider} and create {batches} of"
            f" {count_text(dry.requests, 'request')} for {report.endpoint}{model}; nothing was sent"
        )
        if spec.provider.needs_key and not spec.provider.has_key:
            variables = ", ".join(spec.provider.key_variables)
            errors.warn(f"{variables} is not set: without a key, nothing can be sent")
    elif job is None:
        errors.note(f"nothing would be sent: {count_text(report.requests, 'row', 'was')} in earlier jobs")
    elif not dry.unclear:
        errors.note(f"{this}nothing would be sent; --again would start a new job")
    if dry.parts and (text := skipped_rows_text(spec)):
        errors.note(text)
    if dry.parts:
        errors.note(f"cost: {estimate_text(dry.estimate)} (see `obatch cost`)")
    if not dry.certain:
        errors.note("rows that earlier jobs did not answer would be sent too; those results are not on this machine")


def _dry_run_record(dry: DryRun) -> dict[str, Any]:
    spec, report = dry.spec, dry.spec.batch_file.report
    plan = spec.submit_plan
    return {
        "dry_run": True,
        "job": None if dry.job is None else job_record(dry.job),
        "provider": str(spec.provider.name or spec.provider.base_url),
        "base_url": str(spec.provider.base_url),
        "endpoint": report.endpoint,
        "models": list(report.models),
        "rows": report.requests,
        "requests": dry.requests,
        "batches": len(dry.parts),
        "bytes": dry.upload_bytes,
        "repeated": plan.repeated if plan else 0,
        "answered": plan.answered if plan else 0,
        "unclear": dry.unclear,
        "certain": dry.certain,
        "cost": estimate_record(dry.estimate),
    }


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
    again = "" if started.new else " (--again would start a new one)"
    ids = job.batch_ids
    what = f"batch {ids[0]}" if len(ids) == 1 else count_text(len(ids), "batch")
    if not job.parts:
        what = "nothing to send"
    verb = "" if started.new else "resuming "
    current.reporter.note(f"{verb}job {job.id}: {what} at {job.provider}{again}")
    if text := skipped_rows_text(started.spec):
        current.reporter.note(f"job {job.id}: {text}")
