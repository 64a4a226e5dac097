"""On which days of which usage periods something holds, and how much of it there is then."""

from __future__ import annotations

import polars as pl

from rating.kernel import prorate
from rating.periods import month_name, period_start
from schemas.period import Period


def usage_periods(spans: pl.DataFrame, first: Period, last: Period) -> pl.DataFrame:
    """The spans, one row per usage period that they touch and that starts in the months from `first` to `last`.

    Args:
        spans: `from_day`, `to_day` (excluded) and `billing_day`.

    Returns:
        The columns of `spans` with `usage_period`, `usage_period_end`, `month`, `days` (of the span in it) and `period_days`.
    """
    shift = pl.duration(days=pl.col("billing_day").cast(pl.Int64) - 1)
    last_day = pl.col("to_day") - pl.duration(days=1)
    placed = spans.filter(pl.col("from_day") < pl.col("to_day")).with_columns(
        first=pl.max_horizontal(period_start(pl.col("from_day"), pl.col("billing_day")) - shift, pl.lit(first.first_day)),
        last=pl.min_horizontal(period_start(last_day, pl.col("billing_day")) - shift, pl.lit(last.first_day)),
    )
    months = (
        placed.filter(pl.col("first") <= pl.col("last"))
        .with_columns(begins=pl.date_ranges("first", "last", "1mo"))
        .explode("begins")
        .with_columns(
            month=month_name(pl.col("begins")),
            usage_period=pl.col("begins") + shift,
            usage_period_end=pl.col("begins").dt.offset_by("1mo") + shift,
        )
        .drop("first", "last", "begins")
    )
    held = pl.min_horizontal("to_day", "usage_period_end") - pl.max_horizontal("from_day", "usage_period")
    whole = pl.col("usage_period_end") - pl.col("usage_period")
    return months.with_columns(days=held.dt.total_days(), period_days=whole.dt.total_days())


def add_sizes(placed: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """One row per `by`, in that order, with `size`: how much there is in the usage period.

    By the day where the span that is in force last says so, each span then giving its part; otherwise that one's, whole.

    Args:
        placed: What `usage_periods` gave, with `whole` (Int128, of a whole usage period), `prorated` and all of `by`.
    """
    part = prorate(pl.col("whole"), pl.col("days").cast(pl.Int128), pl.col("period_days"))
    last = pl.col("whole").sort_by("from_day").last()
    return (
        placed.with_columns(part=part)
        .group_by(by)
        .agg(
            pl.col("usage_period", "usage_period_end").first(),
            size=pl.when(pl.col("prorated").sort_by("from_day").last()).then(pl.col("part").sum()).otherwise(last),
        )
        .sort(by)
    )
