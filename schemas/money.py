"""Exact money: one scale, one rounding rule.

Amounts are integers at scale 18 while they are computed (Int128) and DECIMAL(38,18) where they are stored. There is one
rounding rule: half-up, away from zero. It is applied where a division cannot be avoided (at scale 18) and once more when an
invoice line is written (at the currency's minor unit).
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache

import polars as pl
from babel.numbers import get_currency_precision

AMOUNT_SCALE = 18
AMOUNT_LIMIT = 10**38
"""Amounts at scale 18 stay below this in absolute value; what would not is an error, never a wrap."""


@cache
def minor_unit_digits(currency: str) -> int:
    """Decimals of a currency's minor unit (ISO 4217): CNY 2, JPY 0, KWD 3."""
    return get_currency_precision(currency)


def round_money(amount: Decimal, currency: str) -> Decimal:
    """The amount rounded half-up (away from zero) to the currency's minor unit."""
    with localcontext() as context:
        context.prec = 60
        return amount.quantize(Decimal(1).scaleb(-minor_unit_digits(currency)), rounding=ROUND_HALF_UP)


def divide_half_up(numerator: pl.Expr, denominator: pl.Expr | int) -> pl.Expr:
    """Int128 numerator / positive Int128 denominator, rounded half-up (away from zero). Exact; never through a float."""
    bottom = pl.lit(denominator, dtype=pl.Int128) if isinstance(denominator, int) else denominator
    whole, rest = numerator.abs() // bottom, numerator.abs() % bottom
    return numerator.sign() * (whole + (rest >= bottom - rest).cast(pl.Int128))


def to_amount(scaled: pl.Expr) -> pl.Expr:
    """Int128 at scale 18 -> DECIMAL(38,18), exactly. Raises when it does not fit 38 digits."""
    return scaled.cast(pl.Decimal(38, 0)) * pl.lit("0.000000000000000001").cast(pl.Decimal(38, 18))
