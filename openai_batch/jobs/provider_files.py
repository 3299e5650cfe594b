"""The provider's files of a job. They are kept in its folder, so that none is downloaded twice or lost later."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from openai_batch.files import paths
from openai_batch.files.atomic import part_file, publish

from .store import job_folder

if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import BinaryIO

    from .store.records import JobRecord
    from .workflow import Workflow


def open_file(workflow: Workflow, job: JobRecord, file_id: str, stack: ExitStack) -> BinaryIO:
    """Open a file of a job's batches, which is downloaded first if it is not kept yet. `stack` closes it.

    Raises DownloadError, NotFoundError if the provider no longer has it, and ApiError.
    """
    path = job_folder.result_file(job, file_id)
    if not path.exists():
        paths.private_dir(path.parent)
        with part_file(path) as (handle, part):
            workflow.api(job).download(
                file_id, handle, lambda done, total: workflow.reporter.progress("download", done, total)
            )
            publish(handle, part, path, replace=True, private=True)
    return stack.enter_context(path.open("rb"))


def forget_file(job: JobRecord, file_id: str) -> None:
    """Delete a kept file with lines that cannot be read: it may have arrived damaged, so it is downloaded again."""
    with contextlib.suppress(OSError):  # on some systems an open file cannot be deleted
        job_folder.result_file(job, file_id).unlink(missing_ok=True)
