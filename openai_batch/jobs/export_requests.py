"""Write requests for another engine: the lines of a batch file, or a Parquet table with one row for each request.

Ray Data, Daft and others read such a table; the column `body` is the body of the request as JSON text, since a column
of objects would need one type for all bodies. `import_results` takes what the engine answers.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import UsageError
from openai_batch.files.atomic import check_target, part_file, publish
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.limits import NO_LIMITS
from openai_batch.results.parquet_file import TEXT, ParquetRows

from .missing_rows import MissingRows
from .output_file import LINES, check_ending, check_no_input, inputs_of
from .retry import survey
from .store import job_folder

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.requests.source import Source

    from .store.records import JobRecord
    from .workflow import Workflow

_TABLES = (".parquet", ".pq")
COLUMNS = ("custom_id", "method", "url", "body")
"""The columns of the table."""


class _Request(msgspec.Struct):
    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = "POST"


_decode = msgspec.json.Decoder(_Request).decode


def export_file(source: Source, target: Path, folder: Path, *, force: bool = False) -> int:
    """Write the requests of a batch file to `target`, and return their number. `folder` is a work folder.

    The ending of `target` decides the form. Raises InputError with every problem of the file, UsageError for another
    ending, OutputExistsError, and MissingExtraError without DuckDB.
    """
    _check(target, [source.path], force=force)
    return _write(check_file(source, NO_LIMITS, folder).path, target, folder, force=force)


def export_job(
    workflow: Workflow, job: JobRecord, target: Path, folder: Path, *, unanswered: bool = False, force: bool = False
) -> int:
    """Write the requests of a job to `target`, with `unanswered` those without an answer, and return their number.

    Raises the errors of `export_file`, InputError if the job's input is gone or has changed, and with `unanswered`
    BatchError if the job still runs.
    """
    _check(target, inputs_of(job), force=force)
    if not unanswered:
        return _write(job_folder.check_input(job), target, folder, force=force)
    rows, rest = MissingRows(job), folder / "unanswered.jsonl"
    survey(workflow, job, rows.note)
    rows.write(rest, replace=True)
    return _write(rest, target, folder, force=force)


def _check(target: Path, inputs: list[Path | str | None] | list[Path], *, force: bool) -> None:
    check_ending(target, (*LINES, *_TABLES))
    if target.suffix.lower() not in (*LINES, *_TABLES):
        raise UsageError(f"{target}: the name does not say the form", hint="end it in .parquet or .jsonl")
    check_no_input(target, inputs)
    check_target(target, force=force)


def _write(source: Path, target: Path, folder: Path, *, force: bool) -> int:
    count = 0
    with source.open("rb") as lines, part_file(target) as (out, part):
        if target.suffix.lower() in _TABLES:
            with contextlib.closing(ParquetRows(folder)) as rows:
                for request in map(_decode, lines):
                    count += 1
                    cells = (request.custom_id, request.method, request.url, bytes(request.body).decode())
                    rows.add(dict(zip(COLUMNS, cells, strict=True)))
                rows.write({name: (name, TEXT) for name in COLUMNS}, out)
        else:
            shutil.copyfileobj(lines, out, 1 << 20)
            lines.seek(0)
            count = sum(1 for _ in lines)
        publish(out, part, target, replace=force)
    return count
