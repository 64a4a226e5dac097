"""What an aggregate is made of, move by move: an event adds a point to it, a retraction takes that point away again.

A kind of aggregate turns moves into states: where the aggregate stands after each of them. It may look at all points that are
there, so a late event finds its place among earlier ones and the last state is the same for every order of arrival.
"""

from __future__ import annotations

import polars as pl

from schemas.frames import INSTANT, FrameSchema

MOVES = FrameSchema(
    "MOVES",
    {
        "key": pl.Int64,  # the aggregate
        "arrival": pl.Int64,  # 1, 2, 3 ... in the batch; 0: a point that was there before
        "weight": pl.Int64,  # 1 adds the point, -1 takes it away
        "occurred_at": INSTANT,
        "event_source": pl.String,  # of the point: a retraction names the event that it takes back
        "event_id": pl.String,
        "quantity_quanta": pl.Int64,  # of the point, also where it is taken away
        "value": pl.String,  # what unique tells apart; null for every other kind
    },
)
"""One row per event, or retraction, and aggregate. An aggregate has at most one point of an event."""

POINT = ["key", "event_source", "event_id"]
"""What tells points apart."""

SPANS = FrameSchema(
    "SPANS",
    {
        "key": pl.Int64,
        "zone": pl.String,  # the account's
        "usage_period": pl.Date,
        "usage_period_end": pl.Date,
    },
)
"""One row per aggregate: where it lies in time."""

STATES = FrameSchema("STATES", {"key": pl.Int64, "arrival": pl.Int64, "state": pl.Int128})
"""One row per move of the batch: the aggregate after it, in quanta."""


def add_up(moves: pl.DataFrame) -> pl.DataFrame:
    """STATES of moves that each change their aggregate by a known step.

    Args:
        moves: `key`, `arrival` and `step` (Int128); points that were there before add their steps too.
    """
    summed = moves.sort("key", "arrival").with_columns(sum=pl.col("step").cum_sum())
    begins = pl.col("key").ne_missing(pl.col("key").shift(1))
    below = pl.when(begins).then(pl.col("sum") - pl.col("step")).otherwise(None).forward_fill()
    return STATES.select(summed.with_columns(state=pl.col("sum") - below).filter(pl.col("arrival") > 0))


def number_points(moves: pl.DataFrame, order: list[pl.Expr]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The points in order, and the moves with `rank`: the row of the point that each adds or takes away.

    Points that `order` cannot tell apart follow source and id, so that the order never depends on the arrival.
    """
    points = moves.filter(pl.col("weight") > 0).sort(*order, "event_source", "event_id")
    ranks = points.select(*POINT, rank=pl.int_range(pl.len(), dtype=pl.Int64))
    return points, moves.join(ranks, on=POINT, how="left", maintain_order="left")
