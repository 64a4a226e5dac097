"""The arithmetic of an amount: f of the aggregate after, less f of the aggregate before. Exact in 128-bit integers.

A discount and a partner's share are factors in millionths, applied inside the function and rounded half-up at scale 18 there.
Because rounding happens inside the function, the rounding of rows cancels out: the rows of an aggregate add up to the
function of its last state, to the last digit, however the period was cut into events.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.compiled import compiled
from schemas.errors import BrokenPromise
from schemas.money import divide_half_up

MILLION = 1_000_000
"""Discounts and shares have at most 6 decimals, so they are whole millionths."""


class StepKeys(NamedTuple):
    """Where the steps of each price stand, and where each begins."""

    first: npt.NDArray[np.int64]  # by price: row of its first step; one more than there are prices
    from_quanta: npt.NDArray[np.int64]  # by row of STEPS


def step_keys(steps: pl.DataFrame) -> StepKeys:
    """The search keys of STEPS, or of any frame with `price` and `from_quanta` that is sorted by them."""
    prices = steps["price"].cast(pl.Int64)
    count = 0 if prices.is_empty() else int(prices[-1]) + 1
    first = np.searchsorted(prices.to_numpy(), np.arange(count + 1))
    return StepKeys(first.astype(np.int64), steps["from_quanta"].to_numpy())


def find_steps(rows: pl.DataFrame, quanta: str, keys: StepKeys) -> pl.Series:
    """The step each row's quantity is in.

    Args:
        rows: `price` (row of LOWERED, never null) and the column named by `quanta` (Int64, null counts as 0).
        keys: `step_keys` of STEPS.

    Returns:
        UInt32 rows of STEPS: the last step of the price with from < quantity; for 0 the price's first.

    Raises:
        BrokenPromise: A row has a price without steps.
    """
    price = rows["price"].cast(pl.Int64)
    if rows.height and (price.null_count() or int(cast(int, price.max())) >= len(keys.first) - 1):
        raise BrokenPromise("a price without steps is rated")
    found = np.empty(rows.height, np.uint32)
    wanted = rows[quanta].fill_null(0).to_numpy()
    _find(keys.first, keys.from_quanta, price.to_numpy(), wanted, found)
    return pl.Series("step", found)


@compiled
def _find(
    first: npt.NDArray[np.int64],
    from_quanta: npt.NDArray[np.int64],
    prices: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.int64],
    found: npt.NDArray[np.uint32],
) -> None:
    for i in range(len(wanted)):
        low, high = first[prices[i]], first[prices[i] + 1]
        quanta = max(wanted[i], 1)
        while high - low > 1:
            middle = (low + high) // 2
            if from_quanta[middle] < quanta:
                low = middle
            else:
                high = middle
        found[i] = low


def price_quanta(rows: pl.DataFrame, quanta: str, steps: pl.DataFrame, found: pl.Series) -> pl.Series:
    """f of each row's quantity.

    Args:
        rows: the column named by `quanta` (Int64; null is an aggregate that has not begun) and `at_zero` (f(0), Int128).
        steps: STEPS.
        found: the row of STEPS for each row, from `find_steps`.

    Returns:
        Int128 at scale 18; 0 where the aggregate has not begun, `at_zero` where it is 0.
    """
    here = steps.select("from_quanta", "base", "unit_price", "package_quanta")[found]
    return (
        pl.concat([rows.select(pl.col(quanta).alias("quanta"), "at_zero"), here], how="horizontal")
        .select(
            pl.when(pl.col("quanta").is_null())
            .then(pl.lit(0, pl.Int128))
            .when(pl.col("quanta") == 0)
            .then(pl.col("at_zero"))
            .otherwise(pl.col("base") + pl.col("unit_price") * _units())
            .alias("price")
        )
        .to_series()
    )


def apply_factor(money: pl.Expr, millionths: pl.Expr) -> pl.Expr:
    """money x millionths / 1,000,000, rounded half-up at scale 18.

    Args:
        money: Int128 at scale 18.
        millionths: Int64 from 0 to 1,000,000.

    The multiplication is split so that nothing leaves 128 bits: whole millions exactly, the rest (below 10^12) rounded.
    """
    magnitude = money.abs()
    whole, rest = magnitude // MILLION, magnitude % MILLION
    factor = millionths.cast(pl.Int128)
    return money.sign() * (whole * factor + divide_half_up(rest * factor, MILLION))


def prorate(money: pl.Expr, count: pl.Expr, days: pl.Expr) -> pl.Expr:
    """money x count / days, rounded half-up at scale 18. Split into whole and rest so that nothing leaves 128 bits.

    Args:
        money: Int128 at scale 18.
        count: Days, or licence-days.
        days: Of the whole period.
    """
    magnitude, period_days = money.abs(), days.cast(pl.Int128)
    whole, rest = magnitude // period_days, magnitude % period_days
    return money.sign() * (whole * count + divide_half_up(rest * count, period_days))


def _units() -> pl.Expr:
    """Whole quanta above the step's start, or packages begun."""
    package = pl.col("package_quanta").cast(pl.Int128)
    return (pl.col("quanta").cast(pl.Int128) - pl.col("from_quanta") + package - 1) // package
