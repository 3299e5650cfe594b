"""The order of a job's results: that of its input, read from the job's folder or from the provider's copy."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import DownloadError, NotFoundError
from openai_batch.files import paths
from openai_batch.files.atomic import part_file

from .store import job_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from openai_batch.results.index import Place

    from .store.records import JobRecord, PartRecord
    from .workflow import Workflow

    Rows = Callable[[PartRecord, Mapping[str, Place]], Iterable[tuple[int, str]]]
    """Returns the (row number, id) pairs of a part in the order of the rows.

    Its arguments are the part and the places of the part's results by id.
    """


@dataclass(frozen=True, slots=True)
class ResultOrder:
    """The order of a job's results: that of its input."""

    ids: Callable[[], Iterable[str]]
    """Returns the ids of the job's requests in input order, each time from the first."""
    parts: list[PartRecord]
    """The job's parts, in the order in which their results are read."""
    rows: Rows
    """Returns the rows of a part."""
    consecutive: bool
    """Whether the rows of each part come after those of the part before it."""


def result_order(workflow: Workflow, job: JobRecord) -> ResultOrder | None:
    """Return the order of a job's results; None if it is not known.

    For a batch made elsewhere, the provider's copy of the input is downloaded, and all its ids are held in memory.
    Raises DownloadError or ApiError if that fails.
    """
    kept = job_folder.has_ids(job)
    if kept and all(job_folder.has_rows(job, part) for part in job.parts):
        spans = {part.number: job_folder.span_of(job, part) for part in job.parts}
        parts = sorted(job.parts, key=lambda part: spans[part.number])
        consecutive = all(spans[a.number][1] < spans[b.number][0] for a, b in itertools.pairwise(parts))
        parts = parts if consecutive else list(job.parts)
        return ResultOrder(
            functools.partial(job_folder.read_ids, job),
            parts,
            lambda part, _: job_folder.rows_of(job, part),
            consecutive,
        )
    ids = job_folder.read_ids(job) if kept else _uploaded_ids(workflow, job)
    if ids is None:
        return None
    numbers: dict[str, int] = {}
    for custom_id in ids:  # a request that was sent again has its id twice
        numbers.setdefault(custom_id, len(numbers))
    return ResultOrder(
        functools.partial(iter, numbers),
        list(job.parts),
        lambda _, places: sorted((numbers[custom_id], custom_id) for custom_id in places if custom_id in numbers),
        consecutive=len(job.parts) == 1,
    )


def _uploaded_ids(workflow: Workflow, job: JobRecord) -> list[str] | None:
    """Return the ids in the uploaded files of a job's parts; None if the provider does not have them all."""
    api = workflow.api(job)
    ids: list[str] = []
    for part in job.parts:
        if not part.file_id:
            return None
        with part_file(paths.private_dir(paths.job_dir(job.uid)) / "found") as (handle, _):
            try:
                api.download(part.file_id, handle)
            except NotFoundError as exc:
                workflow.reporter.warn(
                    f"cannot get the input of batch {part.batch_id} ({exc}); results come in the provider's order"
                )
                return None
            handle.seek(0)
            try:
                ids += [msgspec.json.decode(line, type=_Request).custom_id for line in handle if line.strip()]
            except msgspec.MsgspecError as exc:
                raise DownloadError(
                    f"file {part.file_id}, the input of batch {part.batch_id}, is not a file of requests ({exc})",
                    hint=f"obatch download {job.id} --raw FOLDER fetches the provider's own files",
                ) from exc
    return ids


class _Request(msgspec.Struct):
    """The part of a request line that is needed here."""

    custom_id: str  # the request's id
