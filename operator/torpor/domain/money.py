"""Money appears only here: integer GPU-ms × integer micro-prices become decimal strings, once, for display.

Rounding is half-even; amounts have 6 decimal places, rates per second 10, per hour 6, per million tokens 4
(cost-policy §2.1). None stays None: an unknown price is never shown as 0.

A seventh of a GPU costs a seventh of its price, which no decimal holds. So an amount is a whole number of its unit, or
a fraction of whole numbers (`Exact`), and stays one through every sum: nothing is added up from rounded parts. The one
division is the one here, where it is shown.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

Exact = int | Fraction
"""An amount of money, or a price, without any rounding; never a float."""

MICRO = Decimal(1_000_000)
MS_PER_HOUR = Decimal(3_600_000)
SECONDS_PER_HOUR = Decimal(3600)
BYTES_PER_GIB = 1024**3


def amount(micro_ms: Exact | None) -> str | None:
    """Return an amount of money from micro-units × ms per hour, 6 decimal places."""
    return None if micro_ms is None else known_amount(micro_ms)


def known_amount(micro_ms: Exact) -> str:
    """Return the same of an amount that is known."""
    return _text(_decimal(micro_ms) / MS_PER_HOUR / MICRO, 6)


def per_hour(micro_per_hour: Exact | None) -> str | None:
    """Return a rate per hour, 6 decimal places at most."""
    return None if micro_per_hour is None else _text(_decimal(micro_per_hour) / MICRO, 6)


def per_second(micro_per_hour: Exact | None) -> str | None:
    """Return a rate per second, 10 decimal places at most."""
    return (
        None
        if micro_per_hour is None
        else _text(_decimal(micro_per_hour) / MICRO / SECONDS_PER_HOUR, 10)
    )


def per_million_tokens(micro_ms: Exact | None, tokens: int) -> str | None:
    """Return all of the cost per million tokens delivered, 4 decimal places; None while there are no tokens."""
    if micro_ms is None or tokens <= 0:
        return None
    return _text(_decimal(micro_ms) / MS_PER_HOUR / tokens, 4)


def plain(amount: Decimal) -> str:
    """Return an amount of at most 6 decimal places without trailing zeros."""
    return _text(amount, 6)


def gpu_hours(gpu_ms: int) -> str:
    """Return GPU-milliseconds as GPU-hours, 6 decimal places."""
    return _text(Decimal(gpu_ms) / MS_PER_HOUR, 6)


def gib(count: int) -> str:
    """Return bytes as GiB, 6 decimal places."""
    return _text(Decimal(count) / BYTES_PER_GIB, 6)


def micro(price: Decimal | None) -> int | None:
    """Return a price per hour as integer micro-units (half-even), None if there is none."""
    return None if price is None else known_micro(price)


def known_micro(price: Decimal) -> int:
    """Return the same of a price that is known."""
    return int((price * MICRO).to_integral_value(ROUND_HALF_EVEN))


def units(amount: Decimal | int) -> int:
    """Return an amount of money as micro-units × ms per hour, the unit of the meter (half-even)."""
    return int((Decimal(amount) * MICRO * MS_PER_HOUR).to_integral_value(ROUND_HALF_EVEN))


def lowest(value: Exact) -> Exact:
    """Return the same amount, as an int where it is a whole number."""
    return value.numerator if value.denominator == 1 else value


def written(value: Exact) -> str:
    """Return an amount as it is stored: all its digits, and a denominator where it is no whole number (`22/7`)."""
    return str(value)


def read(text: str) -> Exact:
    """Return the amount that `written` wrote."""
    return lowest(Fraction(text)) if "/" in text else int(text)


def _decimal(value: Exact) -> Decimal:
    return Decimal(value.numerator) / value.denominator


def rounded(amount: str | None, places: int) -> str | None:
    """Return an amount with fewer decimal places, for a column."""
    return None if amount is None else _text(Decimal(amount), places)


def _text(value: Decimal, places: int) -> str:
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    text = f"{rounded:f}".rstrip("0").rstrip(".")
    return "0" if text in ("", "-0", "-") else text
