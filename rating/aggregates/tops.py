"""Aggregates that are one of their points: the largest, the smallest, the last; and the largest of every hour or day, added up.

The points are ranked; what counts is the quantity of the highest rank that is there.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import polars as pl

from rating.aggregates.moves import add_up, number_points
from rating.aggregates.windows import local_windows

_RANKS = 1 << 64
"""More than there can be points: parts are told apart above it."""


def follow_max(moves: pl.DataFrame, _spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of the largest quantity; 0 while there is none."""
    return _follow(moves, ["key"], [pl.col("quantity_quanta")])


def follow_min(moves: pl.DataFrame, _spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of the smallest quantity; 0 while there is none."""
    return _follow(moves, ["key"], [-pl.col("quantity_quanta")])


def follow_latest(moves: pl.DataFrame, _spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of the quantity of the event that happened last; of two at one moment the one with the higher source and id."""
    return _follow(moves, ["key"], [pl.col("occurred_at")])


def follow_hourly_max(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of the sum of the largest quantities of each hour, by the account's clock."""
    return _follow(local_windows(moves, spans, "hour"), ["key", "window"], [pl.col("quantity_quanta")])


def follow_daily_max(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of the sum of the largest quantities of each day, in the account's zone."""
    return _follow(local_windows(moves, spans, "day"), ["key", "window"], [pl.col("quantity_quanta")])


def _follow(moves: pl.DataFrame, part: list[str], order: list[pl.Expr]) -> pl.DataFrame:
    """STATES of the quantity of the highest point of each part, the parts of an aggregate added up."""
    points, numbered = number_points(moves, order)
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in part)
    parts = numbered.sort(*part, "arrival").with_columns(part=begins.cum_sum().cast(pl.Int64))
    shrinking = parts.filter(pl.col("weight") < 0)["part"].unique()
    if shrinking.is_empty():
        topped = parts.with_columns(top=_highest_so_far())
    else:
        shrinks = pl.col("part").is_in(shrinking.implode())
        walked = parts.filter(shrinks)
        topped = pl.concat(
            [parts.filter(~shrinks).with_columns(top=_highest_so_far()), walked.with_columns(top=_highest_there(walked))]
        )
    quantities = points["quantity_quanta"].gather(topped["top"]).fill_null(0).cast(pl.Int128)
    same = pl.col("part") == pl.col("part").shift(1)
    return add_up(
        topped.with_columns(reached=quantities).with_columns(
            step=pl.col("reached") - pl.when(same).then(pl.col("reached").shift(1)).otherwise(0)
        )
    )


def _highest_so_far() -> pl.Expr:
    """The highest rank of the part up to each move, where nothing is taken away: one running maximum over all parts."""
    above = pl.col("part").cast(pl.Int128) * _RANKS
    return ((above + pl.col("rank")).cum_max() - above).cast(pl.Int64)


def _highest_there(moves: pl.DataFrame) -> pl.Series:
    """The highest rank that is there after each move; null where none is. Moves stand by part and arrival.

    Only parts that lose a point come here: a running maximum cannot forget.
    """
    tops: list[int | None] = []
    present: list[int] = []
    current = None
    for part, rank, weight in moves.select("part", "rank", "weight").iter_rows():
        if part != current:
            present, current = [], part
        if weight > 0:
            insort(present, rank)
        else:
            del present[bisect_left(present, rank)]
        tops.append(present[-1] if present else None)
    return pl.Series("top", tops, dtype=pl.Int64)
