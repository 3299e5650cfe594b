"""What is at the path where results will be written, and whether it may be replaced: no paid result is ever lost."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import OutputExistsError, UsageError
from openai_batch.files.atomic import check_target, has_bytes, publish, stamp
from openai_batch.files.backups import move_to_backup
from openai_batch.files.stored_file import StoredFile

from .input_name import input_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from openai_batch.files.stored_file import Target

    from .store.records import EarlierJobs, JobRecord
    from .workflow import Workflow


LINES = (".jsonl", ".ndjson")  # endings of files of JSON lines
RESULTS = (*LINES, ".csv", ".parquet", ".pq")  # endings of files that decide the format of the results

_OTHER_FORMS = frozenset(
    [
        *(".arrow", ".avro", ".bz2", ".csv", ".db", ".docx", ".duckdb", ".feather", ".gz", ".html", ".json", ".md"),
        *(".ods", ".orc", ".parquet", ".pdf", ".pickle", ".pkl", ".pq", ".sqlite", ".sqlite3", ".tab", ".tar"),
        *(".toml", ".tsv", ".xls", ".xlsx", ".xml", ".xz", ".yaml", ".yml", ".zip", ".zst"),
    ]
)
"""Endings of files in another format than JSON lines. Any other ending does not decide the format."""


class Existing(StrEnum):
    """What is at the path that the results of a job will be written to."""

    NOTHING = "nothing"  # no file
    REPLACEABLE = "replaceable"  # unchanged results of this job, or of an earlier job whose rows are all in this one
    BACK_UP = "back-up"  # results of another earlier job, or results of one that somebody has changed
    MAYBE_OURS = "maybe-ours"  # this job may have written it before it was killed; only equal bytes are accepted
    FOREIGN = "foreign"  # anything else


def existing_file(workflow: Workflow, target: Target, job: JobRecord | None, earlier: EarlierJobs) -> Existing:
    """Return what is at `target`, where `job` will write its results; None for a job that is not started yet."""
    stamps = workflow.registry.at_output(str(target.absolute()))
    planned_here = job is not None and job.id in stamps
    if not target.is_file():
        return Existing.MAYBE_OURS if planned_here else Existing.NOTHING
    now = stamp(target)
    own_stamp = stamps.pop(job.id, None) if job is not None else None
    if own_stamp == now:
        return Existing.REPLACEABLE
    earlier_stamps = {number: known for number, known in stamps.items() if number in earlier.used}
    if any(known == now and number in earlier.grown for number, known in earlier_stamps.items()):
        return Existing.REPLACEABLE
    if earlier_stamps:
        return Existing.BACK_UP
    return Existing.MAYBE_OURS if planned_here else Existing.FOREIGN


def own_file(workflow: Workflow, target: Target, job: JobRecord) -> bool:
    """Return whether `target` has the results of this job, as they were written."""
    known = workflow.registry.at_output(str(target.absolute())).get(job.id)
    return known is not None and target.is_file() and known == stamp(target)


def check_ending(target: Target, endings: tuple[str, ...] = RESULTS) -> None:
    """Raise UsageError if the name of a file to write has the ending of another format."""
    ending = target.suffix.lower()
    if ending in _OTHER_FORMS and ending not in endings:
        known = " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))
        raise UsageError(f"{target}: {ending} files cannot be written", hint=f"choose a name that ends in {known}")


def check_no_input(target: Target, inputs: Iterable[Path | str | None]) -> None:
    """Raise UsageError if a file to write is one of the inputs, under any name."""
    for path in inputs:
        with contextlib.suppress(OSError):
            if path and target.samefile(path):
                raise UsageError(
                    f"{target} is an input file, which is never replaced", hint="choose another name for the output"
                )


def inputs_of(job: JobRecord) -> list[Path | str | None]:
    """Return those files that a job was made from that are known and exist."""
    return [job.input_path, *input_files(job.input_name)]


def check_output(
    workflow: Workflow,
    target: Target,
    job: JobRecord | None,
    earlier: EarlierJobs,
    *,
    force: bool,
    inputs: Iterable[Path | str | None] = (),
) -> None:
    """Raise an error if results may not be written to `target`. Called before anything is paid.

    Raises OutputExistsError, and UsageError if it is one of `inputs`, or of the inputs of `job`.
    """
    check_no_input(target, [*inputs, *(inputs_of(job) if job is not None else ())])
    existing = existing_file(workflow, target, job, earlier)
    if existing == Existing.FOREIGN and not force and (others := workflow.registry.at_output(str(target.absolute()))):
        raise OutputExistsError(
            f"{target} contains the results of job {max(others)}",
            hint="--force replaces it, or choose another name",
        )
    check_target(target, force=force or existing not in (Existing.NOTHING, Existing.FOREIGN))


def check_missing(target: Target, output: Target | None, inputs: Iterable[Path | str | None], *, force: bool) -> None:
    """Raise an error if the failed requests may not be written to `target`, as `check_output` does.

    `output` is where the results go: both cannot go to one file.
    """
    check_ending(target, LINES)
    # On many systems the case of letters does not tell names apart.
    if output is not None and str(target.absolute()).casefold() == str(output.absolute()).casefold():
        raise UsageError(f"{target} is also the output", hint="choose another name for --missing")
    check_no_input(target, inputs)
    check_target(target, force=force)


def _move_away(target: Target) -> Target | None:
    """Give a file another name, and return that; None if there is no file any more."""
    return target.move_to_backup() if isinstance(target, StoredFile) else move_to_backup(target)


def publish_output(
    workflow: Workflow, job: JobRecord, out: BinaryIO, part: Path, target: Target, earlier: EarlierJobs, *, force: bool
) -> None:
    """Move a job's finished results to `target`, and store that. Raises OutputExistsError if the file is foreign."""
    existing = Existing.REPLACEABLE if force else existing_file(workflow, target, job, earlier)
    # Stored before the file is moved: after a kill in between, we know that the file is ours.
    workflow.registry.set_output(job.id, str(target.absolute()))
    out.flush()
    if existing == Existing.BACK_UP and not has_bytes(target, part) and (moved := _move_away(target)):
        workflow.reporter.warn(f"{target} had other results, which are now in {moved}")
    publish(out, part, target, replace=existing == Existing.REPLACEABLE)
    workflow.registry.set_output(job.id, str(target.absolute()), stamp(target))
