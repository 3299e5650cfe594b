"""What a job can cost before it is sent, and the limit on that (`--max-cost`)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from openai_batch.costs.estimate import Estimate, estimate
from openai_batch.costs.prices import is_version
from openai_batch.errors import CostError

from .receipt import costs_in, receipt_of
from .store import job_folder
from .store.records import UNSENT, PartState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from openai_batch.providers.provider import Provider

    from .job_spec import JobSpec, SubmitOptions
    from .store.records import JobRecord, PartRecord
    from .workflow import Workflow


def estimate_spec(
    workflow: Workflow, spec: JobSpec, means: Mapping[str, float] | None = None, *, batch: bool = True
) -> Estimate:
    """Return what the requests of a planned spec can cost; those that need not be sent cost nothing.

    `means` are known means of output tokens by model, and count more than those of earlier jobs. Without `batch` it is
    the price outside of a batch.
    """
    batch_file = spec.batch_file

    def lines() -> Iterator[bytes]:
        for piece in batch_file.slices:
            folder = batch_file.folder or batch_file.path.parent
            path = batch_file.path if piece.source is None else folder / f"{piece.source}.jsonl"
            yield from _lines(path, piece.offset, piece.length)

    return estimate_lines(workflow, spec.provider, lines(), means, batch=batch)


def estimate_parts(workflow: Workflow, job: JobRecord, parts: Iterable[PartRecord], *, batch: bool = True) -> Estimate:
    """Return what parts of a job can cost. Raises InputError if its input has changed, CostError if it is not known."""

    def lines() -> Iterator[bytes]:
        for part in parts:
            if part.sha256 is None:
                raise CostError(
                    f"the requests of part {part.number} of job {job.id} are not known here, so their cost is unknown",
                    hint="leave --max-cost out",
                )
            yield from _lines(job_folder.check_input(job, part), part.offset, part.length)

    return estimate_lines(workflow, workflow.connections.profile(job), lines(), batch=batch)


def estimate_lines(
    workflow: Workflow,
    provider: Provider,
    lines: Iterable[bytes],
    means: Mapping[str, float] | None = None,
    *,
    batch: bool = True,
) -> Estimate:
    """Return what request lines can cost at a provider. `means` and `batch` are those of `estimate_spec`."""
    earlier, known = _mean_output(workflow, provider), means or {}
    return estimate(provider, lines, lambda model: known[model] if model in known else earlier(model), batch=batch)


def check_submission(workflow: Workflow, spec: JobSpec, known: JobRecord | None, options: SubmitOptions) -> None:
    """Raise CostError if the job of a planned spec can cost more than the options allow. `known` is that job, if any.

    What it has spent before, and what its running batches can cost, counts too.
    """
    max_cost, batch = options.max_cost, not options.full_price
    if max_cost is None:
        return
    if known is None or not job_folder.has_ids(known):
        estimate_spec(workflow, spec, batch=batch).check(max_cost)
        return
    lost = [part for part in known.parts if part.state == PartState.CREATING]
    if not lost and not any(part.state in UNSENT for part in known.parts):
        return  # nothing will be sent
    parts = [part for part in known.parts if part.costs is None and not part.withdrawn]
    again = lost if options.resubmit_uncertain else []  # both batches may be billed
    estimate_parts(workflow, known, [*parts, *again], batch=batch).check(max_cost, _spent(known))


def check_direct(workflow: Workflow, job: JobRecord, max_cost: Decimal) -> None:
    """Raise CostError if a job can cost more than `max_cost`, if those without results are sent outside of a batch."""
    parts = [part for part in job.parts if part.costs is None]
    estimate_parts(workflow, job, parts, batch=False).check(max_cost, _spent(job))


def check_retry(
    workflow: Workflow, job: JobRecord, lines: Iterable[bytes], max_cost: Decimal, *, batch: bool = True
) -> Estimate:
    """Raise CostError if an ended job, with these request lines sent again, can cost more than `max_cost`.

    Returns what they can cost, without `batch` outside of a batch. The results of the job must have been read, so that
    it is known what it has spent.
    """
    made = estimate_lines(workflow, workflow.connections.profile(job), lines, batch=batch)
    made.check(max_cost, _spent(workflow.registry.job(job.id)))
    return made


def max_cost_of(job: JobRecord) -> Decimal | None:
    """Return the most that a job may cost, as it was given for it, or None."""
    return None if job.max_cost is None else Decimal(job.max_cost)


def _spent(job: JobRecord) -> Decimal:
    """Return what a job has spent, according to the results that were read. Raises CostError if that is unknown."""
    receipt = receipt_of(job)
    if receipt is None:
        return Decimal(0)
    if receipt.amount is None:
        raise CostError(
            f"what job {job.id} has spent is not known (for {', '.join(receipt.unpriced)}); nothing was sent",
            hint="the price or the tokens are unknown; set the price in the configuration file",
        )
    return receipt.amount


def _mean_output(workflow: Workflow, provider: Provider) -> Callable[[str], float | None]:
    """Return a function that returns how many output tokens the results of a model had at a provider on average."""
    known: list[JobRecord] = []

    def mean(model: str) -> float | None:
        if not known:
            known.extend(workflow.registry.jobs(None))
        costs = [
            each
            for job in known
            if provider.placed().is_at(job.base_url)
            for part in job.parts
            for each in costs_in(part) or ()
            if is_version(each.model, model)
        ]
        results = sum(each.results for each in costs)
        return sum(each.output for each in costs) / results if results else None

    return mean


def _lines(path: Path, offset: int, length: int) -> Iterator[bytes]:
    """Yield the lines of a range of a file."""
    with path.open("rb") as handle:
        handle.seek(offset)
        while length > 0 and (line := handle.readline()):
            length -= len(line)
            yield line
