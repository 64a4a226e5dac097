"""From rows of a batch to where their aggregates stand, for aggregates that need their points."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from rating.aggregates.kinds import FOLLOW
from rating.aggregates.moves import MOVES, SPANS
from rating.aggregates.points import Points
from rating.counted_for import name_aggregates
from rating.periods import period_end
from rating.terms import Terms
from schemas.ledger import AGGREGATE_KEY


def follow_points(rows: pl.DataFrame, terms: Terms, stores: Sequence[Points]) -> pl.DataFrame:
    """The rows with `after` (Int128): the aggregate after each, as a function of all points that are there by then.

    Args:
        rows: COUNTABLE of aggregates whose aggregation is in FOLLOW.
        stores: Where their points are; those of one aggregate are all in the same.
    """
    moves, keys = gather_moves(rows, terms, stores)
    followed = []
    for aggregation in keys["aggregation"].unique().sort():
        mine = keys.filter(pl.col("aggregation") == aggregation)
        followed.append(FOLLOW[aggregation](moves.join(mine, on="key", how="semi"), SPANS.select(mine)))
    states = pl.concat(followed).rename({"state": "after"})
    arrived = rows.with_columns(arrival=_arrival())
    return arrived.join(states, on=["key", "arrival"], how="left", maintain_order="left").drop("arrival")


def gather_moves(rows: pl.DataFrame, terms: Terms, stores: Sequence[Points]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """MOVES of the rows and of the points that were there before, and SPANS with `aggregation` of their aggregates."""
    looked_up = ["key", "charge", "counted_for", "usage_period", "aggregation"]
    where = rows.unique("key", keep="first", maintain_order=True).select(looked_up)
    details = name_aggregates(where, terms).hstack(terms.usage.select("zone", "billing_day")[where["charge"]])
    keys = where.drop("counted_for").hstack(details)
    keys = keys.with_columns(usage_period_end=period_end(pl.col("usage_period"), pl.col("billing_day")))
    moves = MOVES.select(rows.with_columns(arrival=_arrival()))
    known = [points.find(keys.select("key", *AGGREGATE_KEY)) for points in stores]
    return pl.concat([*known, moves]), keys.select(*SPANS.names(), "aggregation")


def _arrival() -> pl.Expr:
    return pl.col("event").cast(pl.Int64) + 1
