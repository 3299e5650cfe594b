"""The provider's files of a job. They are stored in its folder, so that none is downloaded twice or lost later."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError
from openai_batch.files import paths
from openai_batch.files.atomic import part_file, publish
from openai_batch.net.time_limit import deadline_in, until

from .store import job_folder
from .store.records import PartState

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path
    from typing import BinaryIO

    from .store.records import JobRecord, PartRecord
    from .workflow import Workflow

_EXPIRY_SECONDS = 5.0  # seconds for the question when a file expires

ShortFiles = dict[str, tuple[int, int]]
"""Files that are shorter than their records, by their ids: the bytes that arrived, and those on record."""


def open_file(
    workflow: Workflow, job: JobRecord, file_id: str, stack: ExitStack, short: ShortFiles | None = None
) -> BinaryIO:
    """Open a file of a job's batches, which is downloaded first if it is not kept yet. `stack` closes it.

    A file that is whole, and shorter than its record, is added to `short`; it is kept when `keep_short` is called.
    Raises DownloadError, NotFoundError if the provider no longer has it, and ApiError.
    """
    path = job_folder.result_file(job, file_id)
    if short is not None and file_id in short:
        path = _short(path)
    elif not path.exists():
        paths.private_dir(path.parent)
        sizes: list[tuple[int, int]] = []
        on_short = None if short is None else lambda *found: sizes.append(found)
        try:
            with part_file(path) as (handle, part):
                workflow.api(job).download(file_id, handle, _progress(workflow), on_short=on_short)
                if short is not None and sizes:
                    (short[file_id],) = sizes
                    path = _short(path)
                publish(handle, part, path, replace=True, private=True)
        except BatchError:
            path = _first_copy(path)
            if not path.exists():
                raise
    return stack.enter_context(path.open("rb"))


def prefetch(workflow: Workflow, job: JobRecord, part: PartRecord) -> PartRecord:
    """Download the files of a part that are not kept yet, and return the part; errors are raised when it is read."""
    with contextlib.ExitStack() as stack, contextlib.suppress(BatchError):
        for file_id in _files_of(part):
            open_file(workflow, job, file_id, stack)
    return part


def ask_expiry(workflow: Workflow, job: JobRecord) -> JobRecord:
    """Ask when the provider deletes the results of a job that ended first, unless that or their content is known here.

    Returns the job. If the provider cannot be asked or does not know it, nothing changes.
    """
    parts = (part for part in job.parts if part.state == PartState.ENDED and not is_kept(job, part))
    part = min(parts, key=lambda part: part.ended_at or 0.0, default=None)
    if part is not None and part.files_expire_at is None and not workflow.connections.profile(job).is_local:
        with contextlib.suppress(BatchError), until(deadline_in(_EXPIRY_SECONDS)):
            if (expires_at := workflow.api(job).file(_files_of(part)[0]).expires_at) is not None:
                workflow.registry.set_part(part, files_expire_at=expires_at)
    return workflow.registry.job(job.id)


def keep_short(job: JobRecord, short: ShortFiles) -> None:
    """Keep files that are shorter than their records, after their content was checked."""
    for file_id in short:
        path = job_folder.result_file(job, file_id)
        _short(path).replace(path)


def download_once_more(job: JobRecord, file_id: str) -> None:
    """Download a file with lines that cannot be read once more: it may have been damaged on the way.

    Its first copy is kept, in case the provider no longer has it. If it is the same again, it is kept.
    """
    path = job_folder.result_file(job, file_id)
    first = _first_copy(path)
    if path.exists():
        with contextlib.suppress(OSError):  # on Windows another process may have it open
            if first.exists():
                first.write_bytes(b"")
            else:
                path.replace(first)


def forget_file(job: JobRecord, file_id: str) -> None:
    """Delete a kept file that is not the provider's: it is downloaded again the next time."""
    with contextlib.suppress(OSError):  # on Windows another process may have it open
        job_folder.result_file(job, file_id).unlink(missing_ok=True)


def copy_file(workflow: Workflow, job: JobRecord, file_id: str, target: Path, *, replace: bool) -> None:
    """Write a file of a job's batches to `target`, byte for byte: the kept one, else the provider's.

    Raises OutputExistsError if `target` exists and `replace` is False, DownloadError and ApiError.
    """
    kept = job_folder.result_file(job, file_id)
    if not kept.exists():
        workflow.api(job).download_to(
            file_id, target, replace=replace, progress=_progress(workflow), check_record=False
        )
        return
    with part_file(target) as (handle, part), kept.open("rb") as source:
        shutil.copyfileobj(source, handle, 1 << 20)
        publish(handle, part, target, replace=replace)


def all_kept(job: JobRecord) -> bool:
    """Return whether all results of a job are kept, so that nothing must be downloaded to read them."""
    return job.collected and all(is_kept(job, part) for part in job.parts)


def is_kept(job: JobRecord, part: PartRecord) -> bool:
    """Return whether all result files of a part are kept, as far as they are known."""
    return all(job_folder.result_file(job, file_id).exists() for file_id in _files_of(part))


def _files_of(part: PartRecord) -> list[str]:
    return [file_id for file_id in (part.output_file_id, part.error_file_id) if file_id]


def _short(path: Path) -> Path:
    """Return where a file is until its content is checked if it is shorter than its record."""
    return path.with_suffix(".short")


def _first_copy(path: Path) -> Path:
    """Return where the first copy of a file is that is downloaded once more; empty after the second one."""
    return path.with_suffix(".first")


def _progress(workflow: Workflow) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        workflow.go_on()
        workflow.reporter.progress("download", done, total)

    return progress
