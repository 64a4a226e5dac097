"""Prices that hold during windows of a calendar: which events they charge, and how much of each.

Without `split` a price charges the events that happen in its windows, whole. With it a price charges the part of each event
that lies in its windows (rating/split.py). A part of which nobody is charged does not vanish: then the event has no price.
"""

from __future__ import annotations

import polars as pl

from rating.split import lasting, split_ranges
from rating.terms import Terms
from schemas.calendar import LONGEST_SPLIT_MICROSECONDS
from schemas.usage import RejectReason

_NO_PRICE, _TOO_LARGE = RejectReason.NO_PRICE.value, RejectReason.QUANTITY_TOO_LARGE.value
_MEASURED = ["event", "meter"]


def hold_windows(candidates: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The candidates whose price holds when the event happens, each with what it charges of it.

    Args:
        candidates: `event`, `meter`, `charge`, `during` (row of Terms.during; null: at all times), `occurred_at`,
            `quantity_quanta` and `problem`.

    Returns:
        The same with `windows` and `reported_quanta` (null where a row has all of what the event reported), in another order.
        Where a part of an event has no price, or its window is not known, `problem` is no_price.
    """
    none = [pl.lit(None, pl.String).alias("windows"), pl.lit(None, pl.Int64).alias("reported_quanta")]
    told = candidates.with_columns(none)
    if terms.during.is_empty() or told["during"].null_count() == told.height:
        return told
    is_timed = pl.col("during").is_not_null() & pl.col("problem").is_null()
    always, timed = told.filter(~is_timed), told.filter(is_timed)
    split = terms.during["split"].gather(timed["during"])
    whole = _held_whole(timed.filter(~split), terms)
    parts, uncovered = _held_parts(timed.filter(split), pl.concat([always, whole]), terms)
    held = pl.concat([always, whole, parts])
    if uncovered.is_empty():
        return held
    bare = held.select(_MEASURED).join(uncovered.with_columns(bare=True), on=_MEASURED, how="left", maintain_order="left")
    return held.with_columns(problem=pl.when(bare["bare"].fill_null(False)).then(pl.lit(_NO_PRICE)).otherwise("problem"))


def _held_whole(timed: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The rows whose event happens in a window of the price."""
    if timed.is_empty():
        return timed
    during = terms.during.select("calendar_id", "names")[timed["during"]]
    zone = terms.usage["zone"].gather(timed["charge"])
    is_end = (terms.meters["time_is"] == "end").fill_null(False).gather(timed["meter"]).cast(pl.Int64)
    # What has ended at a moment happened before it.
    at = (timed["occurred_at"].to_physical() - is_end).cast(timed.schema["occurred_at"])
    told = timed.drop("windows").hstack([*during.get_columns(), zone.alias("zone"), at.alias("at")])
    found = []
    for (calendar_id, zone_name), mine in told.group_by("calendar_id", "zone"):
        calendar = terms.calendars[str(calendar_id)]
        changes = calendar.changes(calendar.zone or str(zone_name), mine["at"].min(), mine["at"].max())  # type: ignore[arg-type]
        place = changes["at"].search_sorted(mine["at"], side="right").cast(pl.Int64) - 1
        found.append(mine.with_columns(changes["window"].gather(place)))
    window = pl.col("window")
    held = pl.concat(found).filter(window.is_null() | pl.col("names").list.contains(window))
    unknown = pl.when(window.is_null()).then(pl.lit(_NO_PRICE)).otherwise("problem")
    return held.with_columns(problem=unknown, windows=window).select(timed.columns)


def _held_parts(timed: pl.DataFrame, others: pl.DataFrame, terms: Terms) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with the part of their event that lies in the price's windows, and the events of which a part has no price.

    Args:
        timed: Rows of prices that split.
        others: Rows of prices that charge events whole: what they charge is covered.
    """
    nothing = timed.select(_MEASURED).clear()
    if timed.is_empty():
        return timed, nothing
    long = timed.select("meter", quanta="quantity_quanta").pipe(lasting, terms) > LONGEST_SPLIT_MICROSECONDS
    too_long = timed.filter(long).with_columns(problem=pl.lit(_TOO_LARGE))
    rows = timed.filter(~long)
    ranges = split_ranges(rows.select("charge", "occurred_at", quanta="quantity_quanta"), terms)
    size = pl.col("to_quanta") - pl.col("from_quanta")
    parts = (
        ranges.filter(pl.col("held"))
        .group_by("row")
        .agg(part=size.sum(), joined=pl.col("window").unique(maintain_order=True).str.join(","))
    )
    quantity = pl.col("quantity_quanta")
    named = ranges.hstack(rows.select(*_MEASURED, "charge", "during")[ranges["row"]])
    unknown = named.filter(pl.col("window").is_null()).select(_MEASURED).unique()
    bare = pl.concat([unknown, nothing if terms.is_partial else _uncovered(named, others, terms)]).unique()
    told = rows.with_row_index("row").join(parts, on="row", how="left", maintain_order="left")
    is_bare = told.select(_MEASURED).join(bare.with_columns(bare=True), on=_MEASURED, how="left", maintain_order="left")["bare"]
    held = told.filter(told["part"].is_not_null() | is_bare.fill_null(False)).with_columns(
        windows="joined",
        reported_quanta=pl.when(pl.col("part") != quantity).then(quantity),
        quantity_quanta=pl.coalesce("part", quantity),
    )
    return pl.concat([too_long, held.select(timed.columns)]), bare


def _uncovered(ranges: pl.DataFrame, others: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """`event` and `meter` of which no calendar's prices charge every piece, nor any price the whole. Costs charge nobody."""
    if terms.is_cost is not None:
        ranges, others = (rows.filter(~terms.is_cost.gather(rows["charge"])) for rows in (ranges, others))
    calendar = terms.during["calendar_id"].gather(ranges["during"])
    pieces = ranges.with_columns(calendar).group_by(*_MEASURED, "calendar_id", "piece").agg(pl.col("held").any())
    calendars = pieces.group_by(*_MEASURED, "calendar_id").agg(pl.col("held").all())
    events = calendars.group_by(_MEASURED).agg(pl.col("held").any())
    return events.filter(~pl.col("held")).select(_MEASURED).join(others, on=_MEASURED, how="anti")
