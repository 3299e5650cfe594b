"""The order of a job's results: that of its input, read from the job's folder or from the provider's copy."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import DownloadError, NotFoundError
from openai_batch.results.result_line import ids_in

from .provider_files import open_file
from .store import job_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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

    ids: Callable[[], Iterable[str]]  # returns the ids of the job's requests in input order, each time from the first
    parts: list[PartRecord]  # the job's parts, in the order in which their results are read
    rows: Rows  # returns the rows of a part
    # Returns the ids of the requests of a part; None if it is not known which ids are in which part.
    ids_of: Callable[[PartRecord], Iterable[str] | None]
    consecutive: bool  # whether the rows of each part come after those of the part before it


def result_order(workflow: Workflow, job: JobRecord) -> ResultOrder | None:
    """Return the order of a job's results; None if it is not known.

    For a batch made elsewhere, the provider's copy of the input is downloaded, and all its ids are in memory.
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
            lambda part: (custom_id for _, custom_id in job_folder.rows_of(job, part)),
            consecutive,
        )
    known: Sequence[Iterable[str]] | None = [job_folder.read_ids(job)] if kept else _uploaded_ids(workflow, job)
    if known is None:
        return None
    numbers = [part.number for part in job.parts]
    ids: list[str] = []
    rows: dict[str, list[int]] = {}
    for part_ids in known:
        seen: Counter[str] = Counter()
        for custom_id in part_ids:
            seen[custom_id] += 1
            # A batch made elsewhere may ask for an id twice. A request that was sent again has its id in two parts.
            if seen[custom_id] > len(rows.setdefault(custom_id, [])):
                rows[custom_id].append(len(ids))
                ids.append(custom_id)
    return ResultOrder(
        functools.partial(iter, ids),
        list(job.parts),
        lambda _, places: sorted((row, custom_id) for custom_id in places for row in rows.get(custom_id, ())),
        lambda part: dict(zip(numbers, known, strict=True)).get(part.number) if len(known) == len(numbers) else None,
        consecutive=len(job.parts) == 1,
    )


def _uploaded_ids(workflow: Workflow, job: JobRecord) -> list[list[str]] | None:
    """Return the ids in the uploaded file of each part of a job; None if they are not all known."""
    ids: list[list[str]] = []
    for part in job.parts:
        if not part.file_id:
            return None
        with ExitStack() as stack:
            try:
                handle = open_file(workflow, job, part.file_id, stack)
            except NotFoundError as exc:
                workflow.reporter.warn(
                    f"cannot get the input of batch {part.batch_id} ({exc}); results come in the provider's order"
                )
                return None
            found, problem = ids_in(handle)
        if problem is not None:
            what = f"file {part.file_id}, the input of batch {part.batch_id}: {problem}"
            if not found:
                raise DownloadError(
                    what, hint=f"`obatch download {job.id} --raw FOLDER` fetches the provider's own files"
                )
            workflow.reporter.warn(f"{what}; results come in the provider's order")
            return None
        ids.append(found)
    return ids
