"""Quantities become money: f of the aggregate after, less f of the aggregate before."""

from __future__ import annotations

import polars as pl

from rating.counters import Counters
from rating.dynamic import price_money
from rating.kernel import apply_factor, find_steps, price_quanta
from rating.matrix import find_cells
from rating.per_event import place_events, round_events
from rating.split import price_parts
from rating.terms import Terms
from schemas.frames import FrameSchema

PRICED = FrameSchema(
    "PRICED",
    {
        "event": pl.UInt32,
        "charge": pl.UInt32,  # row of Terms.usage
        "dimensions": pl.String,
        "usage_period": pl.Date,
        "counted_for": pl.String,  # whose usage adds up in its aggregate; null: that of the charge
        "quantity_quanta": pl.Int64,
        "reported_quanta": pl.Int64,
        "windows": pl.String,
        "value": pl.String,  # what unique tells apart
        "before_quanta": pl.Int64,
        "after_quanta": pl.Int64,
        "tier": pl.Int32,  # the tier the aggregate is in after the row; of a price per event, the tier of its own quantity
        # f of the aggregate, scale 18, after the discount; 0 before for a price per event; what we owe where it is a cost
        "revenue_before": pl.Int128,
        "revenue_after": pl.Int128,
    },
)
"""One row per event and price that charges it."""


def price_usage(counted: pl.DataFrame, events: pl.DataFrame, terms: Terms, counters: Counters | None = None) -> pl.DataFrame:
    """PRICED of COUNTED, in the same order.

    Args:
        events: EVENTS with `event` and the `data.<property>` columns; a matrix looks at the dimensions.
        counters: As they stood before the batch; prices with free events ask how many there were. None: there were none.
    """
    details = terms.usage.select("price", "at_zero", "kept_millionths")[counted["charge"]]
    rows = counted.hstack(details).with_columns(from_quanta="before_quanta", to_quanta="after_quanta")
    each = terms.event_prices.height > 0 and bool(rows["price"].is_in(terms.event_prices["price"].implode()).any())
    if each:
        rows = find_cells(place_events(rows, terms, counters), events, terms)
    step_after = find_steps(rows, "to_quanta", terms.step_keys)
    step_before = find_steps(rows, "from_quanta", terms.step_keys)
    priced = rows.with_columns(
        terms.steps["tier"].gather(step_after),
        price_quanta(rows, "from_quanta", terms.steps, step_before).alias("revenue_before"),
        price_quanta(rows, "to_quanta", terms.steps, step_after).alias("revenue_after"),
    )
    if each:
        priced = price_money(priced, terms) if terms.dynamic.height else priced
        priced = price_parts(priced, events, terms) if terms.increments.height else priced
        priced = priced.with_columns(round_events("revenue_after"))
    if terms.levels:
        priced = priced.with_columns(
            pl.coalesce(f"level_{side}", f"revenue_{side}").alias(f"revenue_{side}") for side in ("before", "after")
        )
    kept = pl.col("kept_millionths")
    return PRICED.select(
        priced.with_columns(apply_factor(pl.col(name), kept).alias(name) for name in ("revenue_before", "revenue_after"))
    )
