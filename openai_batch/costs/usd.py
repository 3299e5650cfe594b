"""Amounts in USD: as text, and from what a user gives."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from openai_batch.errors import UsageError

_CENT = Decimal("0.01")
_TOO_MUCH = 10**12


def usd(amount: Decimal | None) -> str:
    """Return an amount as text: cents, and for less than a dollar two digits that count; `unknown` for None.

    So 1234.5 is `$1,234.50`, and 0.000423 is `$0.00042`.
    """
    if amount is None:
        return "unknown"
    if amount == 0 or amount >= 1:
        return f"${amount:,.2f}"
    step = Decimal(1).scaleb(amount.adjusted() - 1)
    return f"${amount.quantize(min(step, _CENT)):f}"


def number(amount: Decimal | None) -> float | None:
    """Return an amount for JSON."""
    return None if amount is None else float(amount)


def as_usd(value: str | float | Decimal, name: str) -> Decimal:
    """Return an amount that was given as the option `name`. Raises UsageError if it is none."""
    try:
        amount = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or not 0 <= amount < _TOO_MUCH:
        raise UsageError(
            f"{name} is {value!r}, which is not an amount of US dollars", hint="give a number, such as 2.50"
        )
    return amount
