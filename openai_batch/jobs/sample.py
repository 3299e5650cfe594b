"""Answer the first requests of an input at once, outside of a batch, to see prompts, answers and the cost of the whole.

Nothing is registered. The requests are paid at the full price, and a job of the same input sends and pays them again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.costs.estimate import total
from openai_batch.costs.receipt import ModelCost, costs_of
from openai_batch.errors import AuthError, BatchError
from openai_batch.results.result import Result
from openai_batch.results.result_line import prompt_text
from openai_batch.results.usage import ModelUsage, TokenCounts

from .direct import DirectRequest, answer_line, decode_request, lost_line
from .dry_run import cost_of_input

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

    from openai_batch.costs.estimate import Estimate
    from openai_batch.providers.port import BatchApi

    from .job_spec import JobSpec
    from .workflow import Workflow


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A request that was answered, or failed."""

    prompt: str
    """Its prompt: the last message, the input, or the like."""
    result: Result
    """Its result."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests that were answered outside of a batch."""

    rows: tuple[SampleRow, ...]
    """The requests, in the order of the input."""
    costs: tuple[ModelCost, ...]
    """Their tokens by model; the amounts are those that they would have cost in a batch."""
    whole: Estimate
    """What the whole input can cost in a batch; the output tokens are estimated from those of the sample."""

    @property
    def paid(self) -> Decimal | None:
        """What the requests have cost, at the full price, in USD; None if it is unknown."""
        return total(_full(each) for each in self.costs)


def sample(workflow: Workflow, spec: JobSpec, folder: Path, count: int, *, dedup: bool) -> Sample:
    """Send the first `count` requests of a spec, one after the other, and return them with their answers.

    Each is sent once. `dedup` and `folder` are those of `cost_of_input`. Raises the errors of `BatchApi.respond` if
    there is no answer yet; later ones are results that failed.
    """
    api = workflow.connections.to(spec.provider)
    rows: list[SampleRow] = []
    usage: dict[str | None, ModelUsage] = {}
    with spec.batch_file.path.open("rb") as handle:
        for line in itertools.islice(handle, count):
            request = decode_request(line)
            result = Result.of(_answered(api, request, first=not rows))
            rows.append(SampleRow(prompt_text(line)[1], result))
            used = usage.setdefault(request.body.get("model"), ModelUsage())
            used.add(TokenCounts.of(result.usage), answered=result.outcome.answered)
    costs = costs_of(spec.provider, usage, None, None)
    means = {each.model: each.output / each.results for each in costs if each.results}
    return Sample(tuple(rows), costs, cost_of_input(workflow, spec, folder, dedup=dedup, means=means))


def _answered(api: BatchApi, request: DirectRequest, *, first: bool) -> bytes:
    """Send a request, and return its result line."""
    try:
        status, body = api.respond(request.url, request.body)
    except BatchError as exc:
        if first or isinstance(exc, AuthError):
            raise
        return lost_line(request, exc)
    return answer_line(request, status, body)


def _full(cost: ModelCost) -> Decimal | None:
    if not cost.amount:
        return cost.amount
    return None if cost.saved is None else cost.amount + cost.saved
