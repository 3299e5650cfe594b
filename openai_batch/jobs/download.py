"""Write the results of an ended job to a file, unless they are in it already."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.files.stored_file import StoredFile
from openai_batch.results.outcome import NO_RESULT, Outcome
from openai_batch.results.plain_success import verdict_of
from openai_batch.results.result_line import UNREADABLE
from openai_batch.results.tally import Tally

from .collect import Collected, CollectOptions, collect
from .output_file import own_file
from .provider_files import all_kept
from .store.job_folder import judge_of

if TYPE_CHECKING:
    from openai_batch.files.stored_file import Target

    from .store.records import JobRecord
    from .workflow import Workflow


def download(workflow: Workflow, job: JobRecord, target: Target, options: CollectOptions) -> Collected:
    """Write an ended job's results to `target`, and return how its requests ended.

    Result lines that were written there before are not written again, unless `options.force` is True, or some requests
    have no answer and the results are kept, so that these requests can be named. Raises the errors of `collect`.
    """
    tally = None if options.force or options.export is not None else _written_before(job, target)
    if tally is None or (not tally.complete and all_kept(job)):
        if job.collected and not options.force and own_file(workflow, target, job):
            workflow.reporter.note(f"job {job.id} was downloaded before; {target} is written again")
        return collect(workflow, job, target, options)
    workflow.reporter.note(f"job {job.id} was downloaded before")
    if options.missing is not None and not tally.complete:
        with Path(os.devnull).open("wb") as nowhere:
            collect(workflow, job, nowhere, CollectOptions(missing=options.missing))
    return Collected(job, target, tally)


def _written_before(job: JobRecord, path: Target) -> Tally | None:
    """Count how the requests ended whose result lines are in a file; requests without a line are missing.

    Returns None if the file does not have the result lines of the job: its results were not written to it, or in
    another format, or the file was changed.
    """
    if isinstance(path, StoredFile) or not job.collected or job.output_path != str(path.absolute()):
        return None
    if not path.exists():
        return None
    tally, judge = Tally(), judge_of(job)
    with path.open("rb") as handle:
        for line in handle:
            with contextlib.suppress(*UNREADABLE):
                tally.count(verdict_of(line, judge))
    if tally.outcomes[Outcome.MISSING] or tally.answered != job.answered:
        return None
    for _ in range(job.requests - tally.requests):
        tally.count(NO_RESULT)
    return tally
