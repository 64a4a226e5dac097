"""Prices over several meters, compiled: what each meter's quantities say of the tier that is needed."""

from __future__ import annotations

import polars as pl

from schemas.frames import FrameSchema

CAPACITY = FrameSchema(
    "CAPACITY",
    {
        "price": pl.UInt32,
        "meter": pl.UInt32,
        "bounds": pl.List(pl.Int64),  # 0 and the limits of all tiers but the last, in quanta
        "unit": pl.Int64,  # quanta of the meter in 1
    },
)
"""One row per price version of several meters, and meter (rating/capacity.py)."""

_VERSION = ["price_id", "price_version"]


def read_by(prices: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """The prices, one of several meters once for each of them, with that one's `meter_id` and `meter`."""
    several = prices.filter(pl.col("meters").is_not_null())
    if several.is_empty():
        return prices
    each = several.with_columns(meter_id="meters").explode("meter_id").drop("meter")
    read = each.join(meters.select("meter_id", "meter"), on="meter_id", how="left").select(prices.columns)
    return pl.concat([prices.filter(pl.col("meters").is_null()), read])


def compile_capacity(prices: pl.DataFrame, tiers: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """CAPACITY of prices with `price` and `quantity_scale`. In plain integers: they have few tiers."""
    numbers = dict(meters.select("meter_id", "meter").iter_rows())
    rows: list[dict[str, object]] = []
    several = prices.filter(pl.col("meters").is_not_null())
    for name, version, price, names, scale in several.select(*_VERSION, "price", "meters", "quantity_scale").iter_rows():
        limits = tiers.filter(price_id=name, price_version=version).sort("tier")["limits"].to_list()
        for place, meter in enumerate(names):
            held = [limit[place] for limit in limits[:-1]]
            bounds = [0, *(int(limit.scaleb(scale)) for limit in held)]
            rows.append({"price": price, "meter": numbers[meter], "bounds": bounds, "unit": 10**scale})
    return CAPACITY.build(rows)
