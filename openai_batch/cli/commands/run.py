"""`obatch run`: from prompts, a table or a batch file to results, in one command."""

from __future__ import annotations

import shlex
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from openai_batch.cli.deliver import conclude, deliver
from openai_batch.cli.export_options import OutputOptions
from openai_batch.cli.help_format import INPUT, JOB, examples
from openai_batch.cli.job_options import JobOptions, WaitOptions
from openai_batch.cli.notifying import Notifier
from openai_batch.cli.options import (
    DedupOpt,
    DryRunOpt,
    FilesArg,
    JsonOpt,
    OutputOpt,
    ProviderOpt,
    QuietOpt,
    dollars,
    flag,
    moment,
    option,
)
from openai_batch.cli.output import errors
from openai_batch.cli.request_options import InputOptions, RequestOptions
from openai_batch.cli.session import session
from openai_batch.cli.start import announce, start
from openai_batch.errors import UsageError
from openai_batch.files.atomic import as_target
from openai_batch.files.object_store import is_address, shown
from openai_batch.net.time_span import seconds
from openai_batch.requests.join import globbed

if TYPE_CHECKING:
    from decimal import Decimal

    from openai_batch.cli.session import CommandSession
    from openai_batch.files.stored_file import Target
    from openai_batch.jobs.store.records import JobRecord

    _Deadline = tuple[float, Decimal]

EPILOG = examples(
    "obatch run --example -p local",
    "obatch run prompts.txt -o answers.jsonl -m gpt-4o-mini",
    'obatch run reviews.csv --prompt "Label: {{ text }}" -o labels.jsonl',
    "obatch run reviews.csv --prompt @label.txt --schema label.json --fields \\\n      -o labels.csv",
    "obatch run input.jsonl -p parasail -o results.jsonl",
    note="Run the same command again to continue the same job, wherever it stopped. If FILE has grown since then, "
    "only new and changed rows are sent, and the output has the answers to all rows.",
)


def run(
    files: FilesArg = None,
    output: OutputOpt = None,
    provider: ProviderOpt = None,
    example: Annotated[bool, flag("--example", "Run the built-in example, which labels reviews.", INPUT)] = False,
    *,
    request: RequestOptions,
    inputs: InputOptions,
    job: JobOptions,
    wait: WaitOptions,
    results: OutputOptions,
    retries: Annotated[int, option("--retries", "N", "Retry failed requests up to N times.", JOB, min=0)] = 0,
    dedup: DedupOpt = None,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Turn prompts, a table or a batch file into results.

    Without -o the results of `reviews.csv` go to `reviews.results.jsonl` here, and those of stdin to stdout.
    """
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.collect import CollectOptions
    from openai_batch.jobs.make_requests import make_example
    from openai_batch.jobs.output_file import check_no_input

    if not files and inputs.sql is None and not example:
        raise UsageError("name a file of prompts or requests, or use --example", hint="obatch run --example -p local")
    if example and (files or request != RequestOptions(model=request.model) or inputs != InputOptions()):
        raise UsageError(
            "--example has prompts of its own, which files and the options for prompts do not change",
            hint="leave out the files, --prompt, --system, --limit and the others",
        )
    limit, target = seconds(wait.timeout), _target(files, output, results.form)
    deadline = _deadline(wait, job, retries)
    export, missing = results.export(output, as_json=json and target is None), results.missing_file
    notifier = Notifier(wait.notify)
    for path in (each for each in (target, missing) if each is not None):
        check_no_input(path, request.files())
    shows_busy = "-" not in (files or [])  # else the terminal may be the input
    with session(quiet=quiet, busy=shows_busy) as current, workspace() as folder, notifier.at_end(current):
        current.workflow.parallel = job.parallel
        if shows_busy:
            current.reporter.busy("reading the input")
        if example:
            made, name = make_example(folder, provider, request.model), None
        else:
            made, name = inputs.requests(files, folder, request, provider), inputs.name(files, target)
        spec = job.spec(made, folder, dedup=dedup, input_name=name)
        options = job.submit_options(
            dedup=made.columns is not None if dedup is None else dedup,
            reuse=True,
            output=target,
            missing=missing,
            force=results.force,
            timeout=limit,
            output_form=results.to_store(target),
            full_price=deadline is not None,
        )
        started = start(current, spec, folder, options, made.prepared, dry_run=dry_run, as_json=json)
        if started is None:
            return
        announce(current, started)
        ended = _wait(current, started.job, deadline, limit, retries)
        how = CollectOptions(force=results.force, earlier=started.spec.earlier, missing=missing, export=export)
        asked, ready = results.asked, spec.batch_file.path
        collected = deliver(current, ended, target, how, requests=ready, as_json=json, as_asked=asked)
        conclude(collected, export, strict=results.strict, as_json=json and target is not None, quiet=quiet)
        if example and target is None and not quiet:
            command = ["obatch", "run", "prompts.txt", "-p", ended.provider, "-m", ended.model or "MODEL"]
            errors.hint(f"`{shlex.join([*command, '-o', 'answers.jsonl'])}` does this with your own prompts")


def _wait(
    current: CommandSession, job: JobRecord, deadline: _Deadline | None, timeout: float | None, retries: int
) -> JobRecord:
    """Wait for the end of a job, and send again what --deadline or --retries allow."""
    from openai_batch.jobs.deadline import wait_until
    from openai_batch.jobs.retry import wait_and_retry

    if deadline is not None:
        return wait_until(current.workflow, job, *deadline, timeout=timeout)
    return wait_and_retry(current.workflow, job, timeout=timeout, retries=retries)


def _deadline(wait: WaitOptions, job: JobOptions, retries: int) -> _Deadline | None:
    """Return the time of --deadline, and the most that the job may cost; None without one. Raises UsageError."""
    by, most = moment(wait.deadline), dollars(job.max_cost)
    if by is None:
        return None
    if retries:
        raise UsageError("--deadline and --retries cannot be used together", hint="leave out one of them")
    if most is None:
        raise UsageError(
            "--deadline needs --max-cost: what is late is sent once more at the full price",
            hint="give the most that the whole job may cost at that price, such as --max-cost 5",
        )
    return by, most


def _target(files: list[str] | None, output: str | None, form: str | None) -> Target | None:
    """Return the file for the results; None for standard output. Raises UsageError if -o is missing."""
    if output is not None:
        return None if output == "-" else as_target(output)
    if not files or files == ["-"]:
        return None
    name = shown(files[0]) if is_address(files[0]) else files[0]
    if len(files) > 1 or (has_magic(name) and not Path(name).exists()):
        globbed(files)  # a pattern without a match is reported first
        raise UsageError("several inputs have no common name for their results", hint="name the output with -o")
    ending = form if form in ("csv", "parquet") else "jsonl"
    return Path(f"{Path(name).stem}.results.{ending}")
