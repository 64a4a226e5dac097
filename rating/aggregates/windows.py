"""Hours, days and periods by the account's clock, as aggregates cut time."""

from __future__ import annotations

from typing import Literal

import polars as pl

from rating.periods import local_day
from schemas.frames import INSTANT

_HOUR_US = 3_600_000_000


def local_windows(moves: pl.DataFrame, spans: pl.DataFrame, length: Literal["hour", "day"]) -> pl.DataFrame:
    """The moves with `window` (Int64): the number of the hour or day in which each happened.

    A day is the calendar day in the account's zone. An hour begins at the full hour of the account's clock, also where its
    offset from UTC has minutes; the hour that a clock shows twice in autumn is two hours.
    """
    zoned = moves.join(spans.select("key", "zone"), on="key", how="left", maintain_order="left")
    if length == "day":
        return zoned.with_columns(local_day(zoned, "occurred_at").to_physical().cast(pl.Int64).alias("window"))
    minutes = pl.lit(0, pl.Int64)
    for zone in zoned["zone"].unique().drop_nulls().sort():
        local = pl.col("occurred_at").dt.convert_time_zone(zone)
        offset = (local.dt.base_utc_offset() + local.dt.dst_offset()).dt.total_microseconds()
        minutes = pl.when(pl.col("zone") == zone).then(offset % _HOUR_US).otherwise(minutes)
    return zoned.with_columns(window=(pl.col("occurred_at").dt.epoch("us") + minutes) // _HOUR_US)


def day_begins(spans: pl.DataFrame, day: str) -> pl.Series:
    """The moment at which a day begins in the row's `zone`, as whole seconds since 1970 UTC.

    Where the clock jumps over midnight the day begins at one o'clock; where it shows midnight twice, at the first.
    """
    midnight = pl.col(day).cast(pl.Datetime("us"))
    begins = midnight.dt.replace_time_zone("UTC")
    for zone in spans["zone"].unique().drop_nulls().sort():
        local = pl.coalesce(
            moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
            for moment in (midnight, midnight.dt.offset_by("1h"))
        )
        begins = pl.when(pl.col("zone") == zone).then(local.dt.convert_time_zone("UTC")).otherwise(begins)
    return spans.select(begins.cast(INSTANT).dt.epoch("s").alias(day))[day]
