"""What results have cost, from the tokens that the provider counted in them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal  # noqa: TC003 - msgspec reads the annotations of ModelCost
from typing import TYPE_CHECKING, Any

from .estimate import total
from .prices import THIS_MACHINE, find_price
from .usd import number, usd

if TYPE_CHECKING:
    from openai_batch.providers.provider import Provider
    from openai_batch.results.usage import Usage


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What the results of one model have cost."""

    model: str
    """The model, as the results name it."""
    results: int
    """The number of results with tokens."""
    uncounted: int
    """The number of answers whose tokens are not known, or not all."""
    input: int
    """The input tokens, with the cached ones."""
    cached_input: int
    """The input tokens that the provider had in its cache."""
    output: int
    """The output tokens, with those of reasoning."""
    reasoning: int
    """The output tokens of reasoning."""
    amount: Decimal | None
    """The cost in USD; None if it is unknown."""
    saved: Decimal | None
    """How much less that is than without a batch; None if it is unknown."""
    source: str | None
    """Where the price is from; None if it is unknown."""

    def record(self) -> dict[str, Any]:
        """Return its JSON record."""
        return {
            "model": self.model,
            "results": self.results,
            "not_counted": self.uncounted,
            "input_tokens": self.input,
            "cached_input_tokens": self.cached_input,
            "output_tokens": self.output,
            "reasoning_tokens": self.reasoning,
            "usd": number(self.amount),
            "usd_saved": number(self.saved),
            "prices": self.source,
        }

    def __add__(self, other: ModelCost) -> ModelCost:
        """Return the sum of both; they must be of one model."""
        return ModelCost(
            self.model,
            self.results + other.results,
            self.uncounted + other.uncounted,
            self.input + other.input,
            self.cached_input + other.cached_input,
            self.output + other.output,
            self.reasoning + other.reasoning,
            total((self.amount, other.amount)),
            total((self.saved, other.saved)),
            other.source or self.source,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the results of a job have cost, in USD, including its retries."""

    models: tuple[ModelCost, ...]
    """The cost by model."""
    whole: bool
    """Whether the results of all batches are in it."""

    @property
    def amount(self) -> Decimal | None:
        """The cost; None if it is unknown for any model."""
        return total(each.amount for each in self.models)

    @property
    def saved(self) -> Decimal | None:
        """How much less that is than without batches; None if it is unknown."""
        return total(each.saved for each in self.models)

    @property
    def sources(self) -> list[str]:
        """Where the prices are from."""
        return sorted({each.source for each in self.models if each.source})

    @property
    def unpriced(self) -> list[str]:
        """The models whose cost is unknown."""
        return [each.model for each in self.models if each.amount is None]

    @property
    def text(self) -> str:
        """A text such as `$0.0042, prices by genai-prices 0.2.3`."""
        if self.amount is None:
            return f"unknown: the price or the tokens are unknown for {', '.join(self.unpriced)}"
        more = "" if self.whole else "; more results are to come"
        if self.sources == [THIS_MACHINE]:
            return f"nothing: it ran on this machine{more}"
        saved = f", {usd(self.saved)} saved" if self.saved else ""
        by = f", prices by {', '.join(self.sources)}" if self.sources else ""
        return usd(self.amount) + saved + by + more

    def record(self) -> dict[str, Any]:
        """Return its JSON record, in USD; null for what is not known."""
        return {
            "usd": number(self.amount),
            "usd_saved": number(self.saved),
            "complete": self.whole,
            "models": [each.record() for each in self.models],
        }


def costs_of(
    provider: Provider, usage: Usage, model: str | None, at: float | None, *, batch: bool = True
) -> tuple[ModelCost, ...]:
    """Return what results have cost that ended `at` a time in Unix seconds, without `batch` outside of a batch.

    `model` is that of results without one.
    """
    costs = []
    for named, used in sorted(usage.items(), key=lambda item: item[0] or ""):
        name = named or model or ""
        price = find_price(provider, name, longest=used.largest, at=at, batch=batch)
        amount = None
        if price is not None and (price.is_free or not used.uncounted):
            amount = price.cost(used.input, used.output, used.cached_input)
        full = None if price is None or amount is None else price.without_batch(amount)
        costs.append(
            ModelCost(
                model=name,
                results=used.results,
                uncounted=used.uncounted,
                input=used.input,
                cached_input=used.cached_input,
                output=used.output,
                reasoning=used.reasoning,
                amount=amount,
                saved=None if full is None or amount is None else full - amount,
                source=None if price is None else price.source,
            )
        )
    return tuple(costs)


def added(costs: list[ModelCost]) -> tuple[ModelCost, ...]:
    """Return costs, with one sum for each model."""
    by_model: dict[str, ModelCost] = {}
    for each in costs:
        by_model[each.model] = by_model[each.model] + each if each.model in by_model else each
    return tuple(by_model.values())
