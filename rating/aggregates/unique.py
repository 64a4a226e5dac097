"""Unique: how many different values of a property there are, such as users that were active."""

from __future__ import annotations

import polars as pl

from rating.aggregates.moves import add_up


def follow_unique(moves: pl.DataFrame, _spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of the number of values that at least one point has."""
    values = moves.sort("key", "value", "arrival").with_columns(sum=pl.col("weight").cum_sum())
    begins = pl.col("key").ne_missing(pl.col("key").shift(1)) | pl.col("value").ne_missing(pl.col("value").shift(1))
    below = pl.when(begins).then(pl.col("sum") - pl.col("weight")).otherwise(None).forward_fill()
    held = values.with_columns(held=pl.col("sum") - below)
    there, was_there = pl.col("held") > 0, pl.col("held") - pl.col("weight") > 0
    return add_up(held.with_columns(step=there.cast(pl.Int128) - was_there.cast(pl.Int128)))
