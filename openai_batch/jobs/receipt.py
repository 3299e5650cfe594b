"""What jobs have cost, by the tokens in their results. It is stored with each part when its results are read."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from openai_batch.costs.receipt import ModelCost, Receipt, added, costs_of
from openai_batch.results.usage import ModelUsage, TokenCounts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_batch.providers.provider import Provider
    from openai_batch.results.usage import Usage

    from .store.records import JobRecord, PartRecord


_decode = msgspec.json.Decoder(tuple[ModelCost, ...]).decode


def receipt_of(job: JobRecord) -> Receipt | None:
    """Return what a job has cost, its retries included; None before any of its results are read. Nothing is read."""
    read = [costs for part in job.parts if (costs := costs_in(part)) is not None]
    if not read:
        return None
    whole = all(part.costs is not None or part.withdrawn or part.imported for part in job.parts)
    return Receipt(added([each for costs in read for each in costs]), whole)


def used_tokens(job: JobRecord) -> dict[str, int]:
    """Return the tokens that a job's batches used, by kind; of batches without a count, those in their results."""
    total: dict[str, int] = dict(job.usage)
    for part in job.parts:
        for costs in () if part.usage else costs_in(part) or ():
            for kind, count in (("input_tokens", costs.input), ("output_tokens", costs.output)):
                total[kind] = total.get(kind, 0) + count
    return {kind: count for kind, count in total.items() if count}


def costs_in(part: PartRecord) -> tuple[ModelCost, ...] | None:
    """Return what the results of a part cost, by model; None before they are read."""
    with contextlib.suppress(msgspec.MsgspecError):  # a damaged text counts as none, and is written again
        return None if part.costs is None else _decode(part.costs)
    return None


def part_costs(provider: Provider, job: JobRecord, part: PartRecord, usage: Usage) -> str:
    """Return what the results of a part cost that used these tokens, to store it. What is known stays as it is."""
    if part.usage and not any(used.results for used in usage.values()):
        # The provider counts the tokens of the batch only.
        whole = ModelUsage()
        whole.add(TokenCounts.of(part.usage), answered=True)
        usage = {None: whole}
    known = costs_in(part)
    if known is None or not _same_tokens(known, usage) or not all(each.source for each in known):
        known = costs_of(provider, usage, job.model, part.ended_at, batch=not part.direct)
    return msgspec.json.encode(known).decode()


def _same_tokens(costs: Iterable[ModelCost], usage: Usage) -> bool:
    known = sorted((each.input, each.output, each.cached_input, each.uncounted) for each in costs)
    return known == sorted((each.input, each.output, each.cached_input, each.uncounted) for each in usage.values())


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent in one month on one model at one provider."""

    month: str
    """The month, such as 2026-11 (UTC), in which the batches ended."""
    provider: str
    """The name of the provider."""
    cost: ModelCost
    """The model, its tokens and the cost."""


def spending(jobs: Iterable[JobRecord]) -> list[Spending]:
    """Return what jobs have cost by month, provider and model, the latest month first."""
    groups: dict[tuple[str, str], list[ModelCost]] = {}
    for job in jobs:
        for part in job.parts:
            moment = datetime.fromtimestamp(part.ended_at or part.created_at or job.created_at, UTC)
            groups.setdefault((f"{moment:%Y-%m}", job.provider), []).extend(costs_in(part) or ())
    rows = [Spending(*key, cost) for key, costs in groups.items() for cost in added(costs)]
    rows.sort(key=lambda row: (row.provider, row.cost.model))
    return sorted(rows, key=lambda row: row.month, reverse=True)
