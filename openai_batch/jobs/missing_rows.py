"""Write the requests of a job that have no success, ready to be submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch.errors import BatchError
from openai_batch.files.atomic import part_file, publish

from .store import job_folder
from .store.row_set import RowSet

if TYPE_CHECKING:
    from pathlib import Path

    from .store.records import JobRecord


class MissingRows:
    """The request lines of a job that have no success, for `--missing`."""

    def __init__(self, job: JobRecord) -> None:
        self._job = job
        self._answered = RowSet()
        self._rows = self._successes = 0

    def note(self, row: int, _custom_id: str, cause: str | None) -> None:
        """Take note of how a request ended."""
        self._rows += 1
        if cause is None:
            self._successes += 1
            self._answered.add(row)

    def write(self, target: Path, *, replace: bool) -> None:
        """Write the requests without a success. The input, which may be gone, is read only if there are any.

        Raises BatchError if the order of the requests is not known, InputError if the input is gone or has changed.
        """
        if not self._rows:
            raise BatchError(
                f"which requests of job {self._job.id} have no success cannot be told, as their order is not known",
                hint="leave --missing out",
            )
        with part_file(target) as (out, part):
            if self._successes < self._rows:
                with job_folder.check_input(self._job).open("rb") as source:
                    for row, line in enumerate(source):
                        if row not in self._answered:
                            out.write(line)
            publish(out, part, target, replace=replace)
