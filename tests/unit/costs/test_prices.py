"""The price of a model: from the profile, from the package, or unknown."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from openai_batch.costs.prices import find_price, is_version
from openai_batch.errors import ConfigError
from openai_batch.providers import get_provider_by_name
from openai_batch.providers.provider import Prices, Provider

if TYPE_CHECKING:
    from pathlib import Path

OPENAI = "https://api.openai.com/v1"
MILLION = 1_000_000


def test_a_batch_costs_half_of_the_listed_price() -> None:
    """The package's prices of gpt-4o-mini, 0.15 and 0.60 US dollars, are halved, cached input too."""
    price = find_price(get_provider_by_name("openai"), "gpt-4o-mini-2024-07-18")
    assert price is not None
    assert (price.input, price.output, price.cached_input) == (Decimal("0.075"), Decimal("0.3"), Decimal("0.0375"))
    assert price.cost(3 * MILLION, MILLION, MILLION) == Decimal("0.15") + Decimal("0.0375") + Decimal("0.3")
    assert price.without_batch(Decimal("0.3")) == Decimal("0.6")
    assert price.source.startswith("genai-prices ")


def test_long_inputs_cost_more_from_the_listed_length_on() -> None:
    """If the price rises with the length of the input, a single request of that length gets the higher price."""
    provider = get_provider_by_name("openai")
    short, long = (find_price(provider, "gpt-5.5", longest=length) for length in (272_000, 272_001))
    assert short is not None
    assert long is not None
    assert (short.input, long.input) == (Decimal("2.5"), Decimal(5))


def test_a_name_counts_more_than_a_pattern() -> None:
    """Also for a dated version, as an answer names it: so the cost of a job is by the price of its estimate."""
    prices = {
        "gpt-4o*": Prices(input=9, output=9),
        "gpt-4o-mini": Prices(input=1, output=2),
        "*": Prices(input=5, output=5),
    }
    provider = Provider(base_url=OPENAI, prices=prices)
    for model, expected in (("gpt-4o-mini", 1), ("gpt-4o-mini-2024-07-18", 1), ("gpt-4o", 9), ("o3", 5)):
        price = find_price(provider, model)
        assert price is not None
        assert price.input == expected


def test_an_unknown_discount_is_not_guessed() -> None:
    """Without a known batch discount the list price is used, and the source says so."""
    price = find_price(Provider(base_url=OPENAI), "gpt-4o-mini")
    assert price is not None
    assert (price.input, price.discount) == (Decimal("0.15"), None)
    assert "without the batch discount" in price.source
    assert price.without_batch(Decimal(1)) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        (Provider(base_url=OPENAI), "no-such-model"),
        (Provider(base_url=OPENAI), ""),
        (get_provider_by_name("openai"), "omni-moderation-latest"),
        (Provider(base_url="https://api.acme.example/v1"), "gpt-4o-mini"),
        (Provider(base_url="http://127.0.0.1:9/v1"), "gpt-4o-mini"),
    ],
)
def test_an_unknown_price_is_none(provider: Provider, model: str) -> None:
    """A model without a price at this provider has no price, even if other providers have one."""
    assert find_price(provider, model) is None


def test_parasail_has_no_known_prices() -> None:
    """A provider that the package does not know has no price; the price is not 0."""
    assert find_price(replace(get_provider_by_name("openai"), base_url="https://api.parasail.io/v1"), "gpt-4o") is None


def test_prices_of_the_configuration_are_preferred(home: Path) -> None:
    """Prices of the profile are used without a discount, also for a dated version of the model."""
    (home / "config.toml").write_text(
        '[providers.openai.prices."gpt-4o-mini"]\ninput = 1\noutput = 2.5\ncached_input = 0.1\n'
        '[providers.openai.prices."ft:*"]\ninput = 3\noutput = 4\n'
    )
    provider = get_provider_by_name("openai")
    price = find_price(provider, "gpt-4o-mini-2024-07-18")
    assert price is not None
    assert (price.input, price.output, price.cached_input) == (Decimal(1), Decimal("2.5"), Decimal("0.1"))
    assert (price.source, price.without_batch(Decimal(1))) == ("your configuration", Decimal(2))
    tuned = find_price(provider, "ft:gpt-4o-mini:acme::x")
    assert tuned is not None
    assert (tuned.output, tuned.cached_input) == (Decimal(4), Decimal(3))
    other = find_price(provider, "gpt-4o-mini-audio-preview")
    assert other is not None
    assert other.source.startswith("genai-prices")


def test_the_local_provider_is_free_without_a_remote_upstream(home: Path) -> None:
    """The local provider is free, unless it has an upstream on another host, whose price is unknown."""
    local = get_provider_by_name("local")
    price = find_price(local, "any")
    assert price is not None
    assert price.is_free
    (home / "config.toml").write_text('[providers.local]\nupstream = "http://127.0.0.1:8000/v1"\n')
    assert find_price(local, "any") is not None
    (home / "config.toml").write_text('[providers.local]\nupstream = "https://api.acme.example/v1"\n')
    assert find_price(local, "any") is None
    here, hosted = (
        'upstream = ["http://127.0.0.1:1", "http://[::1]:2"]',
        '[[providers.local.upstream]]\nurl = "https://acme"',
    )
    (home / "config.toml").write_text(f"[providers.local]\n{here}\n")
    assert find_price(local, "any") is not None
    (home / "config.toml").write_text(hosted)
    assert find_price(local, "any") is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("input = 1", "output is missing"),
        ("input = -1\noutput = 1", "input must be a number of US dollars"),
        ("input = nan\noutput = 1", "input must be a number of US dollars"),
        ("input = inf\noutput = 1", "input must be a number of US dollars"),
        ('input = "1"\noutput = 1', "input must be a number of US dollars"),
        ("input = 1\noutput = 1\noutputs = 2", "unknown key 'outputs'"),
    ],
)
def test_a_wrong_price_is_named(home: Path, table: str, message: str) -> None:
    """An invalid price is an error that names the file, the provider and the model."""
    text = f'[providers.acme]\nbase_url = "https://a.example/v1"\n[providers.acme.prices."m/large"]\n{table}\n'
    (home / "config.toml").write_text(text)
    with pytest.raises(ConfigError) as told:
        get_provider_by_name("acme")
    assert message in told.value.message
    assert "[providers.acme] prices.'m/large'" in told.value.message


@pytest.mark.parametrize("share", ["1", "-0.1", "true"])
def test_a_wrong_discount_is_named(home: Path, share: str) -> None:
    """A discount that is not valid is an error."""
    (home / "config.toml").write_text(f"[providers.openai]\nbatch_discount = {share}\n")
    with pytest.raises(ConfigError, match="batch_discount must be a number from 0"):
        get_provider_by_name("openai")


@pytest.mark.parametrize(
    ("model", "name", "same"),
    [
        ("m", "m", True),
        ("m-2024-07-18", "m", True),
        ("m-20240718", "m", True),
        ("m-0125", "m", True),
        ("m-large", "m", False),
        ("m-2024-07-18-beta", "m", False),
        ("m", "m-2024-07-18", False),
    ],
)
def test_a_name_with_a_date_is_a_version(model: str, name: str, same: bool) -> None:
    """A model name with a date is a version of the model without it."""
    assert is_version(model, name) is same


def test_a_program_can_set_prices() -> None:
    """A profile made by a program can have prices."""
    price = find_price(Provider(base_url="http://127.0.0.1:9/v1", prices={"m": Prices(input=0.1, output=0.2)}), "m")
    assert price is not None
    assert price.cost(10, 5) == Decimal("0.000002")
