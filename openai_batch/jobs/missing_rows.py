"""Write the failed and missing requests of a job to a file that is ready to submit."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError
from openai_batch.files.atomic import part_file, publish
from openai_batch.files.stored_file import StoredFile
from openai_batch.requests.row_set import RowSet

from .store import job_folder

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.files.stored_file import Target
    from openai_batch.results.outcome import Verdict

    from .store.records import JobRecord


class MissingRows:
    """Collects which requests of a job were not answered, and writes their lines, for `--missing`."""

    def __init__(self, job: JobRecord) -> None:
        self._job = job
        self._answered = RowSet()
        self._rows = self._answers = 0

    def note(self, row: int, _custom_id: str, verdict: Verdict) -> None:
        """Store how a request ended."""
        self._rows += 1
        if verdict.outcome.answered:
            self._answers += 1
            self._answered.add(row)

    def write(self, target: Target, *, replace: bool) -> None:
        """Write the lines of the requests that were not answered. If all were, the input is not needed.

        A file that an earlier call wrote is replaced too.

        Raises BatchError if the order of the requests is not known, InputError if the input is gone or has changed,
        and OutputExistsError if the target exists and `replace` is False.
        """
        if not self._rows:
            raise BatchError(
                f"cannot tell which requests of job {self._job.id} failed: their order is not known",
                hint="leave --missing out",
            )
        with part_file(target) as (out, part):
            if self._answers < self._rows:
                with job_folder.check_input(self._job).open("rb") as source:
                    for row, line in enumerate(source):
                        if row not in self._answered:
                            out.write(line)
            publish(out, part, target, replace=replace or was_written(self._job, target))


def was_written(job: JobRecord, target: Target) -> bool:
    """Return whether a file may be replaced because `MissingRows.write` wrote it for this job."""
    with contextlib.suppress(BatchError):
        return target.is_file() and has_lines_of(job_folder.check_input(job), target)
    return False


def has_lines_of(requests: Path, target: Target) -> bool:
    """Return whether a file has only lines of a file of requests, in their order, as `MissingRows.write` leaves it."""
    if isinstance(target, StoredFile) or not target.is_file():
        return False
    with requests.open("rb") as lines, target.open("rb") as written:
        return all(line in lines for line in written)
