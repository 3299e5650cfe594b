"""Write an ended job's results to a file, unless they are there already."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.results.outcome import NO_RESULT
from openai_batch.results.result import Result
from openai_batch.results.result_line import UNREADABLE
from openai_batch.results.tally import Tally

from .collect import Collected, collect

if TYPE_CHECKING:
    from openai_batch.results.export import Export

    from .store.records import EarlierJobs, JobRecord
    from .workflow import Workflow


def download(
    workflow: Workflow,
    job: JobRecord,
    target: Path,
    *,
    force: bool = False,
    earlier: EarlierJobs | None = None,
    missing: Path | None = None,
    export: Export | None = None,
) -> Collected:
    """Write an ended job's results to `target`, and return how its requests ended.

    The options are those of `collect`. Results that were written there before are not downloaded again, unless `force`
    is True or `export` is given, since its options may have changed. Raises the errors of `collect`.
    """
    written_before = job.output_path == str(target.absolute()) and target.exists() and job.collected
    if not written_before or force or export is not None:
        return collect(workflow, job, target, force=force, earlier=earlier, missing=missing, export=export)
    workflow.reporter.note(f"job {job.id} was downloaded before")
    tally = _tally_of(target, job.requests)
    if missing is not None and not tally.complete:
        with Path(os.devnull).open("wb") as nowhere:
            collect(workflow, job, nowhere, missing=missing)
    return Collected(job, target, tally)


def _tally_of(path: Path, requests: int) -> Tally:
    """Count how the requests ended whose result lines are in a file. Those without a line are missing."""
    tally = Tally()
    with path.open("rb") as handle:
        for line in handle:
            with contextlib.suppress(*UNREADABLE):  # somebody has changed the file
                tally.count(Result.of(line).verdict)
    for _ in range(requests - tally.requests):
        tally.count(NO_RESULT)
    return tally
