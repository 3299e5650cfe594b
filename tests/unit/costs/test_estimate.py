"""What requests can cost, with known figures, and when a cost is refused."""

from __future__ import annotations

import json
import shlex
import tomllib
from decimal import Decimal

import pytest
from support.command import request

from openai_batch.costs.estimate import Estimate, ModelEstimate, estimate
from openai_batch.costs.tokens import RequestTokens
from openai_batch.costs.usd import as_usd, usd
from openai_batch.errors import CostError, UsageError
from openai_batch.providers.provider import Prices, Provider

ACME = Provider(
    name="acme",
    base_url="https://api.acme.example/v1",
    prices={"m": Prices(input=1.0, output=10.0)},
    batch_discount=0.5,
)


def of(*requests: object, provider: Provider = ACME, guess: float | None = None) -> Estimate:
    """Estimate some requests."""
    return estimate(provider, [json.dumps(each).encode() for each in requests], lambda _: guess)


def test_the_estimated_cost() -> None:
    """At 10 dollars per million, 1,000 answers of 100 tokens cost 1 dollar; each byte of input may be a token."""
    found = of(*(request(f"r{n}", "m", "x" * 100, max_tokens=100) for n in range(1000)))
    (model,) = found.models
    assert model.tokens.requests == 1000
    assert found.likely == (model.tokens.input + 10 * 100_000) / Decimal(1_000_000)
    assert found.at_most == (model.tokens.input_at_most + 10 * 100_000) / Decimal(1_000_000)
    assert model.tokens.input < model.tokens.input_at_most
    assert found.saved == found.likely


def test_a_huge_cost_is_refused() -> None:
    """A cost with any number of digits is shown and refused."""
    dear = Provider(name="dear", base_url="https://api.dear.example/v1", prices={"m": Prices(input=0, output=9e8)})
    found = of(*(request(f"r{n}", "m", max_tokens=10**11, n=10**11) for n in range(2000)), provider=dear)
    with pytest.raises(CostError, match="this can cost up to"):
        found.check(Decimal(1))


def test_a_guess_does_not_change_the_maximum() -> None:
    """Earlier answers decide the likely cost, and the limits decide the maximum cost."""
    found = of(request("a", "m", max_tokens=100), guess=5.0)
    assert found.models[0].output == 5
    assert found.likely is not None
    assert found.at_most is not None
    assert found.likely < Decimal("0.0001") < Decimal("0.001") < found.at_most
    open_end = of(request("a", "m"), guess=5.0)
    assert open_end.likely is not None
    assert open_end.at_most is None


def test_the_limit_is_exact() -> None:
    """A job that costs exactly the limit is sent, one that costs more is refused, and earlier spending counts."""
    found = of(request("a", "m", max_tokens=100))
    assert found.at_most is not None
    found.check(found.at_most)
    with pytest.raises(CostError) as told:
        found.check(found.at_most - Decimal("0.000001"))
    assert told.value.code == 3
    found.check(Decimal(1), Decimal(1) - found.at_most)
    with pytest.raises(CostError, match="spent before included"):
        found.check(Decimal(1), Decimal(1))
    allowed = Decimal(told.value.hint.rpartition(" ")[2])
    found.check(allowed)


@pytest.mark.parametrize(
    ("found", "message", "hint"),
    [
        (of(request("a", "other", max_tokens=1)), "the price of other at acme is unknown", 'acme.prices."other"'),
        (of(request("a", "m")), "1 request has no limit of output tokens", "max_completion_tokens"),
        (of(request("a", "m", max_tokens=1, audio={"voice": "a"})), "images, files, hosted tools", "a few rows"),
    ],
)
def test_an_unknown_cost_is_refused(found: Estimate, message: str, hint: str) -> None:
    """An unknown price, a missing limit or uncountable input is refused with any limit of the cost."""
    with pytest.raises(CostError, match=message) as told:
        found.check(Decimal(1_000_000))
    assert hint in told.value.hint
    assert found.at_most is None


def test_free_requests_need_no_limit() -> None:
    """If the price is 0, answers without a limit cost nothing."""
    free = Provider(name="f", base_url="http://127.0.0.1:1/v1", prices={"*": Prices(input=0, output=0)})
    found = of(request("a", "m"), provider=free)
    found.check(Decimal(0))
    assert (found.likely, found.at_most) == (Decimal(0), Decimal(0))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("0.000423", "$0.00042"),
        ("0.0000000005", "$0.00000000050"),
        ("0.05", "$0.050"),
        ("0.5", "$0.50"),
        ("0.999", "$1.00"),
        ("12.345", "$12.34"),
        ("1234567.891", "$1,234,567.89"),
        ("1e29", "$100,000,000,000,000,000,000,000,000,000.00"),
    ],
)
def test_small_amounts_keep_their_digits(amount: str, text: str) -> None:
    """An amount that is not 0 is never shown as 0."""
    assert usd(Decimal(amount)) == text
    assert usd(None) == "unknown"


@pytest.mark.parametrize("value", ["x", "", "-1", "nan", "inf", "1e30", -0.5, float("nan"), True])
def test_a_wrong_amount_is_reported(value: str | float) -> None:
    """A value that is not an amount of dollars is an error that names the option."""
    with pytest.raises(UsageError, match="--max-cost is"):
        as_usd(value, "--max-cost")
    assert as_usd("$2.50", "--max-cost") == as_usd(2.5, "max_cost=") == Decimal("2.5")


@pytest.mark.parametrize("model", ["gpt-4o-mini", 'a "quoted" one', "modèle", "a \N{GRINNING FACE} b"])
def test_the_command_for_a_price_names_any_model(model: str) -> None:
    """Its key is TOML, which has no surrogate pairs."""
    words = shlex.split(ModelEstimate(model, RequestTokens(), None).price_command(Provider(name="acme")))
    assert words[:3] == ["obatch", "config", "set"]
    assert tomllib.loads(f"{words[3]} = 1") == {"providers": {"acme": {"prices": {model: 1}}}}
