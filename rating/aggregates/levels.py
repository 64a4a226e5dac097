"""Levels over time: each event says how high something stands, and that holds until the next event or the period's end; or it
says by how much the level changes.

Stored gigabytes become gigabyte-hours, ports become port-days. The last level counts up to the end of the usage period from
the moment it is known; a later event takes back what it cuts off. So when the period is over nothing has to be added: the
aggregate is what the bill must say. A period begins without a level: what was there before must be said again.

Times count in whole seconds, exactly: the sum of level x seconds is an integer, and only that sum is divided, half-up at the
meter's scale, by the seconds of an hour, of a day or of the whole period.
"""

from __future__ import annotations

from bisect import bisect_left

import polars as pl

from rating.aggregates.moves import STATES, add_up, number_points
from rating.aggregates.windows import day_begins
from schemas.money import divide_half_up

_HOUR, _DAY = 3600, 86_400


def follow_unit_seconds(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of level x seconds."""
    return _follow(moves, spans, pl.lit(1, pl.Int64))


def follow_unit_hours(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of level x hours."""
    return _follow(moves, spans, pl.lit(_HOUR, pl.Int64))


def follow_unit_days(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of level x days of 24 hours."""
    return _follow(moves, spans, pl.lit(_DAY, pl.Int64))


def follow_time_average(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of the average level over the whole usage period."""
    return _follow(moves, spans, pl.col("end") - pl.col("start"))


def follow_seconds_of_changes(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of level x seconds, where quantities say by how much the level changes."""
    return _follow_changes(moves, spans, pl.lit(1, pl.Int64))


def follow_hours_of_changes(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """The same in level x hours."""
    return _follow_changes(moves, spans, pl.lit(_HOUR, pl.Int64))


def follow_days_of_changes(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """The same in level x days of 24 hours."""
    return _follow_changes(moves, spans, pl.lit(_DAY, pl.Int64))


def follow_average_of_changes(moves: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of the average level over the whole usage period, where quantities say by how much the level changes."""
    return _follow_changes(moves, spans, pl.col("end") - pl.col("start"))


def _follow_changes(moves: pl.DataFrame, spans: pl.DataFrame, per_seconds: pl.Expr) -> pl.DataFrame:
    """Each change counts by itself, from its moment to the end of the period, so nothing has to be put in order."""
    bounds = _bounds(spans)
    second = pl.col("occurred_at").dt.epoch("s")
    step = pl.col("weight") * pl.col("quantity_quanta").cast(pl.Int128) * (pl.col("end") - second)
    states = add_up(moves.join(bounds, on="key", how="left").with_columns(step=step))
    placed = states.join(bounds, on="key", how="left", maintain_order="left")
    total = pl.col("state").clip(lower_bound=0)
    return STATES.select(placed.with_columns(state=divide_half_up(total, per_seconds.cast(pl.Int128))))


def _bounds(spans: pl.DataFrame) -> pl.DataFrame:
    """`key`, and the seconds at which its period starts and ends."""
    return spans.select(
        "key", day_begins(spans, "usage_period").alias("start"), day_begins(spans, "usage_period_end").alias("end")
    )


def _follow(moves: pl.DataFrame, spans: pl.DataFrame, per_seconds: pl.Expr) -> pl.DataFrame:
    bounds = _bounds(spans)
    timed = moves.with_columns(second=pl.col("occurred_at").dt.epoch("s")).join(bounds, on="key", how="left")
    points, numbered = number_points(timed, [pl.col("key"), pl.col("occurred_at")])
    known = _level_seconds(points.filter(pl.col("arrival") == 0))
    steps = _walk(_neighbours(numbered, points.height))
    total = (
        steps.join(known, on="key", how="left", maintain_order="left")
        .join(bounds, on="key", how="left", maintain_order="left")
        .with_columns(total=pl.col("known").fill_null(0) + pl.col("walked"))
    )
    return STATES.select(total.with_columns(state=divide_half_up(pl.col("total"), per_seconds.cast(pl.Int128))))


def _level_seconds(points: pl.DataFrame) -> pl.DataFrame:
    """`key` and `known`: level x seconds of the points that were there before the batch. Points stand by key and time."""
    following = pl.when(pl.col("key") == pl.col("key").shift(-1)).then(pl.col("second").shift(-1)).otherwise("end")
    area = pl.col("quantity_quanta").cast(pl.Int128) * (following - pl.col("second"))
    return points.select("key", area=area).group_by("key").agg(known=pl.col("area").sum())


def _neighbours(numbered: pl.DataFrame, count: int) -> pl.DataFrame:
    """The moves of the batch, and of the points before it only those that some move stands beside. By key and arrival.

    The levels between other points do not change, so an aggregate of many points costs no more than its neighbours.
    """
    moved = numbered.filter(pl.col("arrival") > 0)["rank"].unique()
    beside = pl.concat([moved - 1, moved, moved + 1]).unique()
    near = pl.DataFrame({"rank": beside.filter((beside >= 0) & (beside < count))})
    known = numbered.filter(pl.col("arrival") == 0).join(near, on="rank", how="semi")
    return pl.concat([known, numbered.filter(pl.col("arrival") > 0)]).sort("key", "arrival", "rank")


def _walk(moves: pl.DataFrame) -> pl.DataFrame:
    """`key`, `arrival` and `walked`: level x seconds that the batch has added up to and with each of its moves.

    One by one, because what an event adds depends on which neighbours have arrived before it.
    """
    seconds, levels = dict[int, int](), dict[int, int]()
    present: list[int] = []
    walked: list[int] = []
    current, total = None, 0
    columns = ("key", "arrival", "weight", "rank", "second", "quantity_quanta", "end")
    for key, arrival, weight, rank, second, level, end in moves.select(columns).iter_rows():
        if key != current:
            present, current, total = [], key, 0
        place = bisect_left(present, rank)
        if weight < 0:
            del present[place]
        if arrival:
            before = levels[present[place - 1]] if place else 0
            until = seconds[present[place]] if place < len(present) else end
            total += weight * (level - before) * (until - second)
            walked.append(total)
        if weight > 0:
            present.insert(place, rank)
            seconds[rank], levels[rank] = second, level
    made = moves.filter(pl.col("arrival") > 0).select("key", "arrival")
    return made.with_columns(pl.Series("walked", walked, dtype=pl.Int128))
