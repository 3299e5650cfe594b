"""`obatch export`: write requests for another engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from openai_batch.cli.help_format import MAIN, examples
from openai_batch.cli.options import ForceOpt, JsonOpt, QuietOpt, argument, flag, option
from openai_batch.cli.output import Output, errors
from openai_batch.cli.session import session
from openai_batch.errors import UsageError, count_text
from openai_batch.files.atomic import as_file
from openai_batch.files.object_store import is_address

EPILOG = examples(
    "obatch export input.jsonl -o requests.parquet",
    "obatch export 3 --unanswered -o rest.parquet",
    note="The table has the columns custom_id, method, url and body; body is JSON text. `obatch import` takes the "
    "answers.",
)


def export(
    source: Annotated[str, argument("FILE|JOB", "Batch file, or a job's number or name.")],
    output: Annotated[str, option("--output -o", "FILE", "A .parquet or .jsonl file.", MAIN)],
    unanswered: Annotated[bool, flag("--unanswered", "Only requests of the job without an answer.", MAIN)] = False,
    force: ForceOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Write requests as a table for another engine.

    Ray Data and Daft read it, for example. Nothing is sent.
    """
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.export_requests import export_file, export_job
    from openai_batch.requests.source import open_source

    target = as_file(output)
    with session(quiet=quiet, busy=True) as current, workspace() as folder:
        path = Path(source).expanduser()
        if source == "-" or is_address(source) or (path.exists() and not path.is_dir()):
            if unanswered:
                raise UsageError("--unanswered is for jobs", hint="`obatch ls` shows them")
            count = export_file(open_source(source, folder), target, folder, force=force)
        else:
            job = current.ended(source) if unanswered else current.find(source)
            count = export_job(current.workflow, job, target, folder, unanswered=unanswered, force=force)
        current.reporter.close()
        Output(as_json=json, quiet=quiet).record({"output": str(target), "requests": count}, str(target), [])
        if not quiet and not json:
            errors.note(f"wrote {count_text(count, 'request')} to {target}")
