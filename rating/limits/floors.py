"""Floors: the least that a price costs a subscription in a usage period, also when nothing is used."""

from __future__ import annotations

import polars as pl

from rating.limits.compile import Limits, grant_floors
from rating.limits.frames import DUES, PARTY
from rating.limits.windows import added_costs
from schemas.limits import LimitCharge
from schemas.period import Period


def raise_to_floors(costs: pl.DataFrame, limits: Limits, first: Period, last: Period) -> tuple[pl.DataFrame, pl.DataFrame]:
    """DUES of what is missing to the floors, and COSTS with it.

    Args:
        costs: COSTS of all usage periods that start from `first` to `last`. All versions of a price count together.
    """
    by = [*PARTY, "price_id", "month"]
    spent = costs.filter(~pl.col("fee")).group_by(by).agg(counted=pl.col("scaled").sum())
    rows = grant_floors(limits, first, last).join(spent, on=by, how="left").with_columns(pl.col("counted").fill_null(0))
    dues = rows.join(limits.prices, on="price_id").select(
        *PARTY,
        pl.col("price_id").alias("floored"),
        (pl.col("price_id") + "/floor").alias("price_id"),
        pl.lit("floor").alias("price_version"),
        pl.lit(LimitCharge.FLOOR.value).alias("charge"),
        *("usage_period", "usage_period_end", "currency", "tax_class", "size", "counted"),
        scaled=(pl.col("size") - pl.col("counted")).clip(lower_bound=0),
    )
    due = dues.filter(pl.col("scaled") != 0)
    return DUES.select(due), pl.concat([costs, added_costs(due, "floored")])
