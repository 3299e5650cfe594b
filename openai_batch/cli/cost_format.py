"""How costs are printed: what requests can cost, what a job has cost, and what was spent in each month.

The keys of the records are a contract: new ones may be added, none changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_batch.costs.usd import number, usd
from openai_batch.errors import count_text
from openai_batch.jobs.receipt import receipt_of

from .output import errors, print_json
from .table import Column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_batch.costs.estimate import Estimate, ModelEstimate
    from openai_batch.jobs.receipt import Spending
    from openai_batch.jobs.store.records import JobRecord

    from .output import Output


def _usd(amount: float | None) -> str:
    from decimal import Decimal

    return usd(None if amount is None else Decimal(str(amount)))


def estimate_record(estimate: Estimate) -> dict[str, Any]:
    """Return the JSON record of what requests can cost, in USD; null for what is not known."""
    return {
        "provider": str(estimate.provider.name or estimate.provider.base_url),
        "requests": sum(each.tokens.requests for each in estimate.models),
        "usd": number(estimate.likely),
        "usd_at_most": number(estimate.at_most),
        "usd_saved": number(estimate.saved),
        "models": [_model_record(each) for each in estimate.models],
    }


def _model_record(each: ModelEstimate) -> dict[str, Any]:
    tokens, price = each.tokens, each.price
    return {
        "model": each.model,
        "requests": tokens.requests,
        "input_tokens": tokens.input,
        "input_tokens_at_most": tokens.input_at_most,
        "tokenizer": tokens.tokenizer,
        "output_tokens": each.output,
        "output_tokens_at_most": None if tokens.unlimited else tokens.output_at_most,
        "output_guessed": each.guess is not None,
        "requests_without_limit": tokens.unlimited,
        "requests_not_counted": tokens.uncounted,
        "price": None
        if price is None
        else {
            "input": number(price.input),
            "cached_input": number(price.cached_input),
            "output": number(price.output),
            "batch_discount": number(price.discount),
            "source": price.source,
        },
        "usd": number(each.likely),
        "usd_at_most": number(each.at_most),
        "usd_saved": number(each.saved),
    }


def _tokens(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


def _exact(value: Any) -> str:
    return "" if value is None else str(value)


# What requests can cost, by model: the columns in a terminal, and then those in a pipe.
ESTIMATE_COLUMNS = (
    Column.of("model", "model", str, cut=True),
    Column.of("requests", "requests", _tokens, str),
    Column.of("tokens in", "input_tokens", _tokens, str),
    Column.of("tokens out", "output_tokens", _tokens, _exact),
    Column.of("cost", "usd", _usd, _exact),
    Column.of("at most", "usd_at_most", _usd, _exact),
    Column.of("batch saves", "usd_saved", _usd, _exact, optional=True),
)


def show_estimate(output: Output, estimate: Estimate) -> None:
    """Print what requests can cost, and how that was calculated."""
    record = estimate_record(estimate)
    if output.as_json:
        print_json(record)
        return
    output.listing(record["models"], ESTIMATE_COLUMNS, "model", "no requests")
    if len(estimate.models) > 1:
        errors.note(f"all models: {estimate_text(estimate)}")
    for text in dict.fromkeys(text for each in estimate.models for text in _assumptions(estimate, each)):
        errors.note(text)
    for each in estimate.models:
        if each.price is None:
            errors.hint(each.price_command(estimate.provider))


def estimate_text(estimate: Estimate) -> str:
    """Return what requests can cost as a short text: `about $0.30, at most $1.20`."""
    if estimate.likely is None and estimate.at_most is None:
        unpriced = [each.model for each in estimate.models if each.price is None]
        if unpriced:
            return f"unknown: no price for {', '.join(unpriced)} at {estimate.provider}"
        return "unknown in advance"
    about = "" if estimate.likely is None else f"about {usd(estimate.likely)}, "
    return about + ("with no known limit" if estimate.at_most is None else f"at most {usd(estimate.at_most)}")


def _assumptions(estimate: Estimate, each: ModelEstimate) -> Iterable[str]:
    """Yield how the figures of a model were calculated, and what is missing for unknown ones."""
    from openai_batch.costs.prices import THIS_MACHINE

    tokens = each.tokens
    if each.price is None:
        yield (
            f"the price of {each.model or 'the model'} at {estimate.provider} is unknown: set that of a million tokens,"
            " with numbers in place of USD"
        )
    elif each.price.is_free:
        here = each.price.source == THIS_MACHINE
        yield "free: it runs on this machine" if here else f"free, by {each.price.source}"
        return
    else:
        yield f"batch prices from {each.price.source}"
    yield (
        f"tokens in: counted with {tokens.tokenizer}"
        if tokens.tokenizer
        else "tokens in: estimated, 4 bytes a token (at most 1 token a byte)"
    )
    if each.guess is not None:
        yield "tokens out: estimated from the answers of earlier jobs"
    elif not tokens.unlimited:
        yield "tokens out: the limits of the requests"
    if tokens.unlimited:
        count = count_text(tokens.unlimited, "request", "has")
        limit = "set one with --param max_completion_tokens=N"
        yield f"{count} no limit of output tokens, so the highest cost is unknown: {limit}"
    if tokens.uncounted:
        count = count_text(tokens.uncounted, "request", "has")
        yield f"{count} images, files, hosted tools or earlier answers, whose cost is unknown in advance"


def short_receipt(job: JobRecord) -> str:
    """Return what a job has cost, for the end of a run: `cost $0.0042, $0.0042 saved`; empty if unknown or nothing."""
    receipt = receipt_of(job)
    if receipt is None or not receipt.amount:
        return ""
    return f"cost {usd(receipt.amount)}" + (f", {usd(receipt.saved)} saved" if receipt.saved else "")


# What was spent by month, provider and model: the columns in a terminal and in a pipe.
SPENDING_COLUMNS = (
    Column.of("month", "month", str),
    Column.of("provider", "provider", str, cut=True),
    Column.of("model", "model", str, cut=True),
    Column.of("results", "results", _tokens, str),
    Column.of("tokens in", "input_tokens", _tokens, str),
    Column.of("tokens out", "output_tokens", _tokens, str),
    Column.of("cost", "usd", _usd, _exact),
    Column.of("saved", "usd_saved", _usd, _exact, optional=True),
)


def show_spending(output: Output, rows: list[Spending]) -> None:
    """Print what was spent by month, provider and model, and each month's sum."""
    from decimal import Decimal

    records = [{"month": row.month, "provider": row.provider} | row.cost.record() for row in rows]
    output.listing(records, SPENDING_COLUMNS, "month", "no job has cost anything yet")
    if output.as_json:
        return
    for month in list(dict.fromkeys(row.month for row in rows)):
        amounts = [row.cost.amount for row in rows if row.month == month]
        open_ones = sum(amount is None for amount in amounts)
        more = f", and {count_text(open_ones, 'row')} of unknown cost" if open_ones else ""
        errors.note(f"{month}: {usd(sum((a for a in amounts if a is not None), start=Decimal(0)))}{more}")
