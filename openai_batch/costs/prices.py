"""The price of a model's tokens in a batch: from the profile, from the package genai-prices, or unknown.

This is the only place that uses genai-prices. The package contains its prices, so nothing is downloaded.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch.net.hosts import is_loopback
from openai_batch.providers.config_file import local_settings

if TYPE_CHECKING:
    from openai_batch.providers.provider import Prices, Provider

MILLION = 1_000_000

THIS_MACHINE = "this machine"  # the source of the price of what runs here

_SNAPSHOT = re.compile(r"-(\d{4}-?\d{2}-?\d{2}|\d{4})")
"""What a provider appends to the name of a model in its answers: the date of the version."""


@dataclass(frozen=True, slots=True)
class Price:
    """What the tokens of a model cost in a batch, in USD per million tokens."""

    input: Decimal
    """Of input tokens."""
    output: Decimal | None
    """Of output tokens, including those of reasoning; None for a model that has no price for them."""
    cached_input: Decimal
    """Of input tokens that the provider had in its cache."""
    source: str
    """Where the price is from, as text."""
    discount: Decimal | None = None
    """The share of the price of the same requests without a batch that the batch saves; None if it is not known."""

    @property
    def is_free(self) -> bool:
        """Whether it is 0 for all tokens."""
        return not (self.input or self.output or self.cached_input) and self.output is not None

    def cost(self, given: int, made: int, cached: int = 0) -> Decimal | None:
        """Return what input tokens (`given`, of which `cached`) and output tokens (`made`) cost in a batch, in USD.

        None if the price of one of them is not known.
        """
        if made and self.output is None:
            return None
        output = made * (self.output or Decimal(0))
        return ((given - cached) * self.input + cached * self.cached_input + output) / MILLION

    def full(self) -> Price | None:
        """Return the price of the same tokens outside of a batch; None if it is not known."""
        if self.is_free:
            return self
        if self.discount is None or self.discount >= 1:
            return None
        share = 1 - self.discount
        output = None if self.output is None else self.output / share
        return Price(self.input / share, output, self.cached_input / share, self.source, Decimal(0))

    def without_batch(self, amount: Decimal) -> Decimal | None:
        """Return what an amount would have been without a batch; None if that is not known."""
        return None if self.discount is None else amount / (1 - self.discount)


def find_price(
    provider: Provider, model: str, *, longest: int = 0, at: float | None = None, batch: bool = True
) -> Price | None:
    """Return the price of a model at a provider, or None if it is unknown. Nothing is asked over the network.

    Without `batch` it is that outside of a batch, which is unknown if the profile has a price and no discount.

    The profile's own prices come first. `longest` is the most input tokens of one request: some prices are higher for
    long inputs. `at` is when the requests ran, in Unix seconds; None for now.
    """
    own = _of_profile(provider.prices, model)
    if own is not None:
        discount = None if provider.batch_discount is None else Decimal(str(provider.batch_discount))
        given = Decimal(str(own.input))
        cached = given if own.cached_input is None else Decimal(str(own.cached_input))
        price = Price(given, Decimal(str(own.output)), cached, "your configuration", discount)
        return price if batch else price.full()
    if provider.is_local:
        urls = [upstream.url for upstream in local_settings().upstreams]
        free = all(is_loopback(urlsplit(url).hostname) for url in urls)
        return Price(Decimal(0), Decimal(0), Decimal(0), THIS_MACHINE) if free else None
    if provider.shards is not None or provider.base_url is None or is_loopback(urlsplit(provider.base_url).hostname):
        return None
    return _of_package(provider if batch else replace(provider, batch_discount=0.0), model, longest, at)


def _of_profile(prices: dict[str, Prices], model: str) -> Prices | None:
    """Return the profile's prices of a model: by its name, else its name without a date, else the first pattern."""
    if model in prices:
        return prices[model]
    dated = (own for name, own in prices.items() if is_version(model, name))
    return next(dated, next((own for name, own in prices.items() if fnmatch.fnmatchcase(model, name)), None))


def is_version(model: str, name: str) -> bool:
    """Return whether `model`, as an answer names it, is the model `name` or a dated version of it."""
    return model == name or (model.startswith(name) and _SNAPSHOT.fullmatch(model, len(name)) is not None)


def _of_package(provider: Provider, model: str, longest: int, at: float | None) -> Price | None:
    """Return the price that genai-prices has for the host of the provider's API."""
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, found = get_snapshot().find_provider_model(model, None, None, provider.base_url)
    except LookupError:
        return None
    listed = found.get_prices(datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC))
    rate = functools.partial(_rate, longest=longest)
    given, made, cached = rate(listed.input_mtok), rate(listed.output_mtok), rate(listed.cache_read_mtok)
    if given is None:
        return None
    source = f"genai-prices {genai_prices.__version__}"
    discount = None if provider.batch_discount is None else Decimal(str(provider.batch_discount))
    if discount is None:
        source += " without the batch discount, which is not known"
    share = 1 - (discount or Decimal(0))
    output = None if made is None else made * share
    return Price(given * share, output, (given if cached is None else cached) * share, source, discount)


def _rate(listed: Any, *, longest: int) -> Decimal | None:
    """Return a listed price: of several by the length of the input, that of the longest input, for all requests."""
    if listed is None or isinstance(listed, Decimal):
        return listed
    reached = [tier.price for tier in listed.tiers if longest > tier.start]
    return Decimal(max([listed.base, *reached]))
