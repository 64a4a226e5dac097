"""An event that lasts is divided at the instants at which another window of a calendar begins.

A quantity is a row of increments, one after the other from the event's beginning; each belongs whole to the window that is in
force when it begins. Where the price has increments of its own (a call by the minute begun) those are meant, everywhere else
the smallest quantity that the meter counts. So the parts are whole quanta and add up to the event, on every day of the year.

A price of each event by itself charges its part as f(where it ends) - f(where it begins), both measured from the beginning of
the event: slots go by the time that has elapsed, and what is due once (a connect fee, a least quantity) is due in the window
in which the event begins.
Source: CGRateS, where an increment takes the rate in force at its start and only the first time span pays the connect fee.
"""

from __future__ import annotations

import polars as pl

from rating.kernel import find_steps, price_quanta
from rating.terms import Terms
from schemas.calendar import UNIT_MICROSECONDS
from schemas.frames import FrameSchema

RANGES = FrameSchema(
    "RANGES",
    {
        "row": pl.UInt32,  # row of what was split
        "piece": pl.Int64,  # the same for all rows of one event and calendar that lie between the same two instants
        "window": pl.String,  # null: the holidays of that year are not known
        "held": pl.Boolean,  # whether the row's price holds in that window
        "from_quanta": pl.Int64,  # excluded, from the beginning of the event
        "to_quanta": pl.Int64,
    },
)
"""One row per row and stretch of time between two changes that is not empty, in order. They add up to the event's quantity."""


def lasting(rows: pl.DataFrame, terms: Terms) -> pl.Series:
    """How long each event lasts in microseconds, rounded up (Int128); null where its quantity is no time.

    Args:
        rows: `meter` and `quanta`.
    """
    whole = pl.col("quanta").cast(pl.Int128) * pl.col("unit")
    told = rows.select("quanta").hstack(_times(rows["meter"], terms))
    return told.select(((whole + pl.col("tens") - 1) // pl.col("tens")).alias("lasting"))["lasting"]


def split_ranges(rows: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """RANGES of events whose prices split them.

    Args:
        rows: `charge`, `occurred_at` and `quanta`, what the event reported.
    """
    charges = terms.usage.select("during", "meter", "zone", "price")[rows["charge"]]
    during = terms.during.select("calendar_id", "names")[charges["during"]]
    told = pl.concat([rows.select("occurred_at", "quanta"), charges, during, _times(charges["meter"], terms)], how="horizontal")
    told = told.with_columns(lasting(told, terms)).with_row_index("row")
    ranges = [RANGES.empty()]
    for (calendar_id, zone), mine in told.group_by("calendar_id", "zone"):
        ranges.append(_cut(mine, str(calendar_id), str(zone), terms))
    return pl.concat(ranges).sort("row", "piece")


def _cut(rows: pl.DataFrame, calendar_id: str, zone: str, terms: Terms) -> pl.DataFrame:
    """RANGES of rows of one calendar and zone."""
    at = pl.col("occurred_at").to_physical()
    lasts = pl.col("lasting").cast(pl.Int64)
    spans = rows.with_columns(
        begins=pl.when("is_end").then(at - lasts).otherwise(at), ends=pl.when("is_end").then(at).otherwise(at + lasts)
    )
    begins, ends = (spans[name].cast(rows.schema["occurred_at"]) for name in ("begins", "ends"))
    calendar = terms.calendars[calendar_id]
    changes = calendar.changes(calendar.zone or zone, begins.min(), ends.max())  # type: ignore[arg-type]
    first = changes["at"].search_sorted(begins, side="right").cast(pl.Int64) - 1
    last = changes["at"].search_sorted(ends, side="left").cast(pl.Int64) - 1
    pieces = (
        spans.with_columns(first=first, last=last)
        .with_columns(last=pl.max_horizontal("first", "last") + 1)
        .with_columns(piece=pl.int_ranges("first", "last"))
        .explode("piece")
    )
    here = changes[pieces["piece"]]
    elapsed = here["at"].to_physical().alias("change") - pieces["occurred_at"].to_physical()
    # Quanta that begin before the change, counted from the beginning of the event: rounded up, and never below none.
    since = pl.col("change").cast(pl.Int128) * pl.col("tens") + pl.when("is_end").then("quanta").otherwise(0) * pl.col("unit")
    begun = (since + pl.col("unit") - 1) // pl.col("unit")
    placed = pieces.hstack([here["window"], elapsed]).with_columns(
        from_quanta=pl.when(pl.col("piece") == pl.col("first")).then(0).otherwise(begun).cast(pl.Int64)
    )
    placed = placed.with_columns(_whole_increments(placed, terms).clip(0, placed["quanta"]).alias("from_quanta"))
    following = pl.col("from_quanta").shift(-1)
    same = pl.col("row") == pl.col("row").shift(-1)
    cut = placed.with_columns(to_quanta=pl.when(same.fill_null(False)).then(following).otherwise("quanta"))
    held = pl.col("names").list.contains(pl.col("window")).fill_null(False)
    kept = cut.filter((pl.col("to_quanta") > pl.col("from_quanta")) | (pl.col("quanta") == 0))
    return RANGES.select(kept.with_columns(held=held, row=pl.col("row").cast(pl.UInt32)))


def _whole_increments(placed: pl.DataFrame, terms: Terms) -> pl.Series:
    """`from_quanta`, moved on to where the next increment begins."""
    found = find_steps(placed, "from_quanta", terms.increment_keys)
    step = terms.increments.select(start="from_quanta", end="to_quanta", size="increment_quanta")[found]
    quanta, start, size = (pl.col(name).cast(pl.Int128) for name in ("from_quanta", "start", "size"))
    moved = start + (quanta - start + size - 1) // size * size
    next_start = pl.min_horizontal(moved, pl.col("end").cast(pl.Int128)).cast(pl.Int64)
    told = placed.select("from_quanta").hstack(step)
    return told.select(pl.when(pl.col("from_quanta") <= 0).then(0).otherwise(next_start).alias("from_quanta"))["from_quanta"]


def price_parts(priced: pl.DataFrame, events: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The rows with tier and revenue of those that are a part of an event priced by itself; all others as they are.

    Args:
        priced: PRICED with `price`, `at_zero`, `reported_quanta` and `divisor`, null where the price is of a period.
        events: EVENTS with `event`.
    """
    numbered = priced.with_row_index("row")
    parts = numbered.filter(pl.col("reported_quanta").is_not_null() & pl.col("divisor").is_not_null())
    if parts.is_empty():
        return priced
    at = events["occurred_at"].gather(parts["event"])
    ranges = split_ranges(parts.select("charge", quanta="reported_quanta").with_columns(at), terms).filter("held")
    told = parts.select("row", "price", "at_zero")[ranges["row"]].hstack(ranges.select("from_quanta", "to_quanta"))
    told = told.with_columns(from_quanta=pl.when(pl.col("from_quanta") > 0).then("from_quanta"))
    steps = {name: find_steps(told, name, terms.step_keys) for name in ("from_quanta", "to_quanta")}
    before, after = (price_quanta(told, name, terms.steps, step) for name, step in steps.items())
    amounts = told.select("row").with_columns(terms.steps["tier"].gather(steps["to_quanta"]), amount=after - before)
    sums = amounts.group_by("row").agg(pl.col("tier").last(), pl.col("amount").sum())
    both = numbered.join(sums, on="row", how="left", maintain_order="left", suffix="_part")
    return both.with_columns(
        tier=pl.coalesce("tier_part", "tier"),
        revenue_before=pl.when(pl.col("amount").is_null()).then("revenue_before").otherwise(0),
        revenue_after=pl.coalesce("amount", "revenue_after"),
    ).select(priced.columns)


def _times(meter: pl.Series, terms: Terms) -> pl.DataFrame:
    """Of each meter: `unit` (microseconds; null), `tens` (quanta in a unit) and `is_end` (whether events tell their end)."""
    lasts = pl.col("lasts").replace_strict(UNIT_MICROSECONDS, return_dtype=pl.Int128)
    tens = pl.col("quantity_scale").replace_strict({scale: 10**scale for scale in range(19)}, return_dtype=pl.Int128)
    meters = terms.meters.select(unit=lasts, tens=tens, is_end=(pl.col("time_is") == "end").fill_null(False))
    return meters[meter]
