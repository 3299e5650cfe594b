"""What requests can cost, before they are sent."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import TYPE_CHECKING

from openai_batch.errors import CostError, count_text

from .prices import find_price
from .tokens import count_tokens
from .usd import usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openai_batch.providers.provider import Provider

    from .prices import Price
    from .tokens import RequestTokens


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """What the requests for one model can cost, in a batch, in USD."""

    model: str
    """The model; empty if the requests name none."""
    tokens: RequestTokens
    """Their tokens."""
    price: Price | None
    """The price of these; None if it is unknown."""
    guess: int | None = None
    """About how many output tokens they will have, by earlier jobs of this machine; None without any."""

    @property
    def output(self) -> int | None:
        """About how many output tokens there will be: an estimate from earlier jobs, or the limits; None if unknown."""
        limit = None if self.tokens.unlimited else self.tokens.output_at_most
        return limit if self.guess is None else self.guess if limit is None else min(limit, self.guess)

    @property
    def likely(self) -> Decimal | None:
        """About what they will cost; None if the price, or the number of output tokens, is unknown."""
        if self.price is not None and self.price.is_free:
            return Decimal(0)
        if self.price is None or self.output is None or self.tokens.uncounted:
            return None
        return self.price.cost(self.tokens.input, self.output)

    @property
    def at_most(self) -> Decimal | None:
        """The most that they can cost; None if there is no known limit."""
        if self.price is not None and self.price.is_free:
            return Decimal(0)
        if self.price is None or self.tokens.unlimited or self.tokens.uncounted:
            return None
        return self.price.cost(self.tokens.input_at_most, self.tokens.output_at_most)

    @property
    def saved(self) -> Decimal | None:
        """About how much less that is than without a batch; None if it is unknown."""
        if self.price is None or self.likely is None:
            return None
        synchronous = self.price.without_batch(self.likely)
        return None if synchronous is None else synchronous - self.likely

    def price_command(self, provider: Provider) -> str:
        """Return the command that sets the price, with USD in place of the numbers."""
        key = f"providers.{provider.name or 'NAME'}.prices.{json.dumps(self.model, ensure_ascii=False)}"
        return f"obatch config set {shlex.quote(key)} '{{input = USD, output = USD}}'"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What requests can cost at a provider, in batches, in USD."""

    provider: Provider
    """The provider."""
    models: tuple[ModelEstimate, ...]
    """The requests by model."""

    @property
    def likely(self) -> Decimal | None:
        """About what they will cost; None if it is unknown."""
        return total(each.likely for each in self.models)

    @property
    def at_most(self) -> Decimal | None:
        """The most that they can cost; None if there is no known limit."""
        return total(each.at_most for each in self.models)

    @property
    def saved(self) -> Decimal | None:
        """About how much less that is than without batches; None if it is unknown."""
        return total(each.saved for each in self.models)

    def check(self, maximum: Decimal, spent: Decimal = Decimal(0)) -> None:
        """Raise CostError unless the requests certainly cost no more than `maximum`, with what was `spent` before."""
        for each in self.models:
            if each.at_most is None:
                raise self._open(each, maximum)
        most = (self.at_most or Decimal(0)) + spent
        if most > maximum:
            before = f", {usd(spent)} spent before included" if spent else ""
            likely = "" if self.likely is None else f" (about {usd(self.likely + spent)} by an estimate)"
            raise CostError(
                f"this can cost up to {usd(most)}{likely}{before}, and {usd(maximum)} is allowed; nothing was sent",
                hint=f"send fewer requests, limit their answers, or allow it with --max-cost {_rounded_up(most)}",
            )

    def _open(self, each: ModelEstimate, maximum: Decimal) -> CostError:
        """Return the error for requests whose cost has no known limit."""
        cause = f"this can cost more than {usd(maximum)}"
        if each.price is None:
            return CostError(
                f"the price of {each.model or 'the model'} at {self.provider} is unknown, so {cause}; nothing was sent",
                details=["set the price of a million tokens, with numbers in place of USD"],
                hint=each.price_command(self.provider),
            )
        if each.tokens.unlimited:
            who = count_text(each.tokens.unlimited, "request", "has")
            return CostError(
                f"{who} no limit of output tokens, so {cause}; nothing was sent",
                hint="set it in each request: --param max_completion_tokens=N for chats of OpenAI,"
                " max_output_tokens for responses, else max_tokens",
            )
        who = count_text(each.tokens.uncounted, "request", "has")
        return CostError(
            f"{who} images, files, hosted tools or earlier answers, whose cost is unknown in advance, so {cause};"
            " nothing was sent",
            hint="leave --max-cost out, and run a few rows first: `obatch status` shows what they cost",
        )


def estimate(
    provider: Provider, lines: Iterable[bytes], guess: Callable[[str], float | None], *, batch: bool = True
) -> Estimate:
    """Return what checked request lines can cost at a provider, without `batch` outside of a batch.

    `guess` returns how many output tokens earlier answers of a model had on average, or None.
    """
    models = []
    for model, tokens in count_tokens(lines).items():
        mean = guess(model)
        price = find_price(provider, model, longest=tokens.longest, batch=batch)
        models.append(ModelEstimate(model, tokens, price, None if mean is None else round(mean * tokens.requests)))
    return Estimate(provider, tuple(models))


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum of amounts; None if one of them is unknown."""
    whole = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        whole += amount
    return whole


def _rounded_up(amount: Decimal) -> str:
    """Return an amount with few digits that is not smaller."""
    step = Decimal(1).scaleb(max(-6, min(0, amount.adjusted() - 1)))
    return f"{amount.quantize(step, ROUND_CEILING, Context(prec=100)):f}"
