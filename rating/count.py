"""Running totals: where each aggregate stands before and after every event of the batch."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import polars as pl

from rating.counters import Counters
from rating.rejects import REJECTED
from rating.terms import Terms
from schemas.frames import FrameSchema
from schemas.usage import RejectReason

COUNTED = FrameSchema(
    "COUNTED",
    {
        "event": pl.UInt32,
        "charge": pl.UInt32,  # row of Terms.usage
        "dimensions": pl.String,
        "usage_period": pl.Date,
        "quantity_quanta": pl.Int64,  # what the event reported
        "before_quanta": pl.Int64,  # null: the aggregate begins with this row
        "after_quanta": pl.Int64,
    },
)
"""One row per event and price that charges it."""


class Counted(NamedTuple):
    rows: pl.DataFrame  # COUNTED
    rejected: pl.DataFrame  # REJECTED: the running total would leave what is exact


def count_usage(charged: pl.DataFrame, terms: Terms, counters: Counters) -> Counted:
    """Carry each aggregate through the batch in order of arrival.

    sum and count: after = before + quantity. max: after = the larger of before and quantity. Either way the steps of an
    aggregate add up to where it stands, and it never falls.

    Args:
        charged: CHARGED, by (event, charge).
    """
    if charged.is_empty():
        return Counted(COUNTED.empty(), REJECTED.empty())
    keyed = _with_begun(_with_key(charged, terms), terms, counters)
    counted = _carry(keyed)
    if not counted.select((pl.col("after") > pl.col("max_quanta")).any()).item():
        return Counted(_counted(counted), REJECTED.empty())
    refused = _refuse_overflow(keyed, counted)
    rest = keyed.filter(~pl.col("event").is_in(refused))
    rejected = pl.DataFrame({"event": pl.Series(refused, dtype=pl.UInt32)}).with_columns(
        reason=pl.lit(RejectReason.QUANTITY_TOO_LARGE.value),
        detail=pl.lit(
            "With this event the period's total would be more than can be rated exactly. "
            "Check the quantities, split the subscription or choose a coarser unit."
        ),
    )
    return Counted(_counted(_carry(rest)), REJECTED.select(rejected))


def _with_key(charged: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """`key` is one number per aggregate: (subscription, price, price version) in the high bits, the period's day in the low."""
    details = terms.usage.select("aggregate", "max_quanta")[charged["charge"]]
    is_max = (terms.meters["aggregation"] == "max").alias("is_max").gather(charged["meter"])
    return pl.concat([charged, details, is_max.to_frame()], how="horizontal").with_columns(
        key=pl.col("aggregate").cast(pl.Int64) * (1 << 24) + pl.col("usage_period").to_physical() + (1 << 23)
    )


def _with_begun(keyed: pl.DataFrame, terms: Terms, counters: Counters) -> pl.DataFrame:
    """`begun`: where the aggregate stood before the batch; null if it had not begun."""
    keys = keyed.unique("key", keep="first", maintain_order=True).select("key", "charge", "usage_period")
    names = terms.usage.select("subscription_id", "price_id", "price_version")[keys["charge"]]
    begun = counters.before(names.with_columns(keys["usage_period"]))
    return keyed.join(keys.select("key", begun["after_quanta"].alias("begun")), on="key", how="left", maintain_order="left")


def _carry(keyed: pl.DataFrame) -> pl.DataFrame:
    """`after` and `before` of each row, by (key, event); `after` is Int128, so that nothing wraps before it is judged.

    One pass over rows sorted by aggregate instead of a window per aggregate, which costs ten times as much: a running sum
    less what it was where the aggregate begins, and a running maximum that each aggregate starts above the one before.
    """
    quantity, begun = pl.col("quantity_quanta").cast(pl.Int128), pl.col("begun").fill_null(0).cast(pl.Int128)
    above = pl.col("number").cast(pl.Int128) * (1 << 64)
    summed = begun + pl.col("sum") - pl.when("first").then(pl.col("sum") - quantity).otherwise(None).forward_fill()
    highest = (above + pl.max_horizontal(begun, quantity)).cum_max() - above
    return (
        keyed.sort("key", maintain_order=True)
        .with_columns(first=pl.col("key").ne_missing(pl.col("key").shift(1)), sum=quantity.cum_sum())
        .with_columns(number=pl.col("first").cum_sum())
        .with_columns(after=pl.when("is_max").then(highest).otherwise(summed))
        .with_columns(before=pl.when("first").then(pl.col("begun").cast(pl.Int128)).otherwise(pl.col("after").shift(1)))
    )


def _counted(carried: pl.DataFrame) -> pl.DataFrame:
    quanta = [pl.col(name).cast(pl.Int64).alias(f"{name}_quanta") for name in ("before", "after")]
    return COUNTED.select(carried.with_columns(*quanta))


def _refuse_overflow(keyed: pl.DataFrame, counted: pl.DataFrame) -> list[int]:
    """Events that would carry an aggregate beyond its limit, as if they had come one by one: what still fits is kept.

    Only aggregates that would overflow are walked; the walk is row by row because refusing one event makes room for the next.
    """
    full = counted.filter(pl.col("after") > pl.col("max_quanta"))["key"].unique()
    rows = keyed.filter(pl.col("key").is_in(full.to_list()) & ~pl.col("is_max")).sort("event")
    parts: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    totals: dict[int, int] = {}
    for event, key, quantity, limit, begun in rows.select("event", "key", "quantity_quanta", "max_quanta", "begun").iter_rows():
        parts[event].append((key, quantity, limit))
        totals.setdefault(key, begun or 0)
    refused = []
    for event, charges in parts.items():
        if any(totals[key] + quantity > limit for key, quantity, limit in charges):
            refused.append(event)
            continue
        for key, quantity, _ in charges:
            totals[key] += quantity
    return refused
