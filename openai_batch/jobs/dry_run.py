"""Find out what submitting a spec would do: which job it continues, and what would be uploaded and created."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.requests.split import cut

from .budget import check_submission, estimate_parts, estimate_spec
from .reuse import estimate, find_reusable
from .store import job_folder
from .store.records import UNSENT, PartRecord, PartState
from .submit import job_of, missing_parts, planned_parts, preview, started_before
from .token_limit import EnqueuedTokens

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from openai_batch.costs.estimate import Estimate

    from .job_spec import JobSpec, SubmitOptions
    from .store.records import JobRecord
    from .workflow import Workflow


@dataclass(frozen=True, slots=True)
class DryRun:
    """What submitting a spec would do."""

    spec: JobSpec  # as planned: without the rows that need not be sent
    job: JobRecord | None  # the job that would be continued; None for a new one
    parts: list[PartRecord]  # the parts that would be sent
    estimate: Estimate  # what these parts can cost
    certain: bool = True  # False if it is not known here which rows earlier jobs answered: the others would be sent too

    @property
    def requests(self) -> int:
        """How many requests would be sent."""
        return sum(part.requests for part in self.parts)

    @property
    def upload_bytes(self) -> int:
        """How many bytes would be uploaded; a part whose file is at the provider already needs no upload."""
        return sum(part.length for part in self.parts if not part.file_id)

    @property
    def unclear(self) -> int:
        """How many parts may have a batch already: it would be searched for first."""
        return sum(part.state == PartState.CREATING for part in self.job.parts) if self.job else 0


def dry_run(workflow: Workflow, spec: JobSpec, folder: Path, options: SubmitOptions) -> DryRun:
    """Find out what `submit` with these arguments would do. Nothing is sent.

    Raises the errors of `preview`, and CostError if the job can cost more than `options.max_cost`.
    """
    plan = preview(workflow, spec, folder, options)
    job = None if options.again else started_before(workflow, spec)
    has_ids = job is not None and job_folder.has_ids(job)
    planned, certain = (spec, True) if has_ids else estimate(workflow, plan)
    check_submission(workflow, planned, job, options)
    queue = EnqueuedTokens(workflow.registry, spec.provider)
    if job is None or (not has_ids and all(part.state == PartState.PLANNED for part in job.parts)):
        new = job_of(planned, workflow.account(spec.provider), 0)
        return DryRun(planned, job, _cut_parts(queue, new, planned), estimate_spec(workflow, planned), certain)
    unsent = [part for part in job.parts if part.state in UNSENT]
    missing = missing_parts(job, planned_parts(planned))
    cost = estimate_spec(workflow, planned) if missing else estimate_parts(workflow, job, unsent)
    rooms = [(part, None if part.sha256 is None else queue.room_in_bytes(job, part)) for part in unsent]
    cut_parts = [[part] if room is None else job_folder.cut_part(job, part, room) for part, room in rooms]
    return DryRun(planned, job, [*itertools.chain(*cut_parts), *missing], cost)


def _cut_parts(queue: EnqueuedTokens, job: JobRecord, spec: JobSpec) -> list[PartRecord]:
    """Return the parts of a planned spec's new job; those that are larger than the provider's queue are cut."""
    batch_file, found = spec.batch_file, list[PartRecord]()
    folder = batch_file.folder or batch_file.path.parent
    for part, bounds in zip(planned_parts(spec), batch_file.slices, strict=True):
        room = queue.room_in_bytes(job, part)
        if room is None:
            found.append(part)
            continue
        path = batch_file.path if bounds.source is None else folder / f"{bounds.source}.jsonl"
        ids_path = batch_file.ids if bounds.source is None else folder / f"{bounds.source}.ids"
        with path.open("rb") as requests, ids_path.open("rb") as ids:
            found += [PartRecord.of(piece, 0, part.number) for piece in cut(requests, ids, bounds, room)]
    return found


def cost_of_input(
    workflow: Workflow, spec: JobSpec, folder: Path, *, dedup: bool, means: Mapping[str, float] | None = None
) -> Estimate:
    """Return what all requests of a spec can cost; with `dedup`, identical ones are counted once. Nothing is sent.

    `means` are those of `estimate_spec`.
    """
    planned, _ = estimate(workflow, find_reusable(workflow, spec, folder, dedup=dedup, earlier=False))
    return estimate_spec(workflow, planned, means)
