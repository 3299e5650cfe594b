"""`obatch download`: fetch a job's results, checked and in input order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from openai_batch.cli.deliver import conclude, deliver
from openai_batch.cli.export_options import OutputOptions
from openai_batch.cli.help_format import examples
from openai_batch.cli.job_format import job_record
from openai_batch.cli.options import DryRunOpt, JobArg, JsonOpt, OutputOpt, ParallelOpt, ProviderOpt, QuietOpt, option
from openai_batch.cli.output import Output, errors, print_json
from openai_batch.cli.session import CommandSession, session
from openai_batch.errors import UsageError, count_text
from openai_batch.files.atomic import as_path, as_target

if TYPE_CHECKING:
    from openai_batch.files.stored_file import Target
    from openai_batch.jobs.store.records import JobRecord

EPILOG = examples(
    "obatch download -o results.jsonl",
    "obatch download -o results.csv --fields",
    "obatch download 3 -o - | jq .custom_id",
    "obatch download 3 --raw results/",
)


# By form: the ending of the output's name if the user gave none.
_ENDINGS = {"csv": ".csv", "parquet": ".parquet"}


def download(
    job: JobArg = None,
    output: OutputOpt = None,
    raw: Annotated[
        str | None, option("--raw", "FOLDER", "Fetch the provider's own files into this folder, unchanged.")
    ] = None,
    *,
    results: OutputOptions,
    provider: ProviderOpt = None,
    parallel: ParallelOpt = None,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Write a job's results to a file, in input order.

    It works for failed, expired and cancelled jobs too. Each request has one line.

    Without -o they go to the same file as before, in the same form, or to `job-N.results.jsonl`.
    """
    if raw is not None:
        _check_raw(output, results, dry_run=dry_run)
    with session(quiet=quiet, busy=True) as current:
        current.workflow.parallel = parallel
        found = current.find(job, provider, use=False, ask=False) if dry_run else current.ended(job, provider)
        if raw is not None:
            _fetch_raw(current, found, as_path(raw), force=results.force, as_json=json)
            return
        wanted = results.form_for(found, output)
        own = f"job-{found.id}.results{_ENDINGS.get(wanted or '', '.jsonl')}"
        name = output or found.output_path or found.output_form.get("output") or own
        export = results.export(name, form=wanted, job=found, as_json=json)
        target = None if name == "-" else as_target(name)
        rest, force = results.missing_file, results.force
        if dry_run:
            _say_dry(current, found, target, rest, force=force, as_json=json)
            return
        from openai_batch.jobs.collect import CollectOptions

        how = CollectOptions(force=force, missing=rest, export=export)
        collected = deliver(current, found, target, how, as_json=json, as_asked=results.asked)
        if collected.path is not None:
            stored = results.written(found, collected.path, wanted, export)
            current.workflow.registry.set_job(found.id, output_form=stored)
        conclude(collected, export, strict=results.strict, as_json=json and output != "-", quiet=quiet)


def _check_raw(output: str | None, results: OutputOptions, *, dry_run: bool) -> None:
    """Raise UsageError for an option that has no meaning for the provider's own files."""
    given = {
        "--dry-run": dry_run,
        "--output": output is not None,
        "--as": results.form is not None,
        "--fields": results.fields is not None,
        "--inert": results.inert is not None,
        "--missing": results.missing is not None,
        "--strict": results.strict,
    }
    for name in (name for name, is_given in given.items() if is_given):
        raise UsageError(f"{name} cannot be used with --raw", hint="leave out one of them")


def _say_dry(
    current: CommandSession, job: JobRecord, target: Target | None, rest: Target | None, *, force: bool, as_json: bool
) -> None:
    """Say what the command would write. No provider is asked, and nothing is written."""
    from openai_batch.jobs.output_file import check_missing, check_output, inputs_of
    from openai_batch.jobs.store.records import EarlierJobs

    current.reporter.close()
    if target is not None:
        check_output(current.workflow, target, job, EarlierJobs(), force=force)
    if rest is not None:
        check_missing(rest, target, inputs_of(job), force=force or job.output_path is not None)
    if as_json:
        print_json(job_record(job) | {"dry_run": True, "output": str(target or "-")})
        return
    where = "standard output" if target is None else target
    if job.ended:
        errors.note(f"would write {count_text(job.requests, 'result')} of job {job.id} to {where}; nothing was written")
    else:
        errors.note(f"job {job.id} was {job.status} when last seen: nothing can be written before it ends")


def _fetch_raw(current: CommandSession, job: JobRecord, folder: Path, *, force: bool, as_json: bool) -> None:
    """Fetch the provider's files of a job into a folder, and print their paths."""
    from openai_batch.jobs.collect import fetch_raw

    paths = fetch_raw(current.workflow, job, folder, force=force)
    current.reporter.close()
    names = [str(path) for path in paths]
    if as_json:
        print_json(job_record(job) | {"files": names})
        return
    Output().lines(names)
    if not paths:
        errors.note(f"job {job.id} {job.status}: the provider has no files of it")
