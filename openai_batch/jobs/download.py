"""Write an ended job's results to a file, unless they are there already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

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
    """Write an ended job's results to `target`, and return how many requests succeeded and failed.

    The options are those of `collect`. Results that were written there before are not downloaded again, unless `force`
    is True or `export` is given, since its options may have changed. Raises the errors of `collect`.
    """
    written_before = job.output_path == str(target.absolute()) and target.exists() and job.collected
    if not written_before or force or export is not None:
        return collect(workflow, job, target, force=force, earlier=earlier, missing=missing, export=export)
    workflow.reporter.note(f"job {job.id} was downloaded before")
    succeeded = job.succeeded or 0
    failed = job.requests - succeeded
    if missing is not None and failed:
        with Path(os.devnull).open("wb") as nowhere:
            collect(workflow, job, nowhere, missing=missing)
    return Collected(job, target, Tally(requests=job.requests, succeeded=succeeded, failed=failed))
