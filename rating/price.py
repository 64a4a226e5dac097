"""Quantities become money: f of the aggregate after, less f of the aggregate before, and the partner's part of it."""

from __future__ import annotations

import polars as pl

from rating.kernel import apply_factor, find_steps, price_quanta
from rating.terms import Terms
from schemas.frames import FrameSchema

PRICED = FrameSchema(
    "PRICED",
    {
        "event": pl.UInt32,
        "charge": pl.UInt32,  # row of Terms.usage
        "dimensions": pl.String,
        "usage_period": pl.Date,
        "quantity_quanta": pl.Int64,
        "value": pl.String,  # what unique tells apart
        "before_quanta": pl.Int64,
        "after_quanta": pl.Int64,
        "tier": pl.Int32,  # the tier the aggregate is in after the row
        "revenue_before": pl.Int128,  # f of the aggregate before, scale 18, after the discount
        "revenue_after": pl.Int128,
    },
)
"""One row per event and price that charges it."""

SHARED = FrameSchema("SHARED", {"row": pl.UInt32, "partner_id": pl.String, "amount": pl.Int128})
"""One row per row of PRICED and agreement that covers it; `row` points into PRICED."""


def price_usage(counted: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """PRICED of COUNTED, in the same order."""
    details = terms.usage.select("price", "at_zero", "kept_millionths")[counted["charge"]]
    rows = pl.concat([counted, details], how="horizontal")
    step_after = find_steps(rows, "after_quanta", terms.step_keys)
    step_before = find_steps(rows, "before_quanta", terms.step_keys)
    priced = rows.with_columns(
        terms.steps["tier"].gather(step_after),
        price_quanta(rows, "before_quanta", terms.steps, step_before).alias("revenue_before"),
        price_quanta(rows, "after_quanta", terms.steps, step_after).alias("revenue_after"),
    )
    kept = pl.col("kept_millionths")
    return PRICED.select(
        priced.with_columns(apply_factor(pl.col(name), kept).alias(name) for name in ("revenue_before", "revenue_after"))
    )


def share_revenue(priced: pl.DataFrame, events: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """SHARED: what the account's partner is due of each row under the agreements in force when it happened."""
    parties = terms.usage.select("partner_id", "price_id")[priced["charge"]]
    at = events["occurred_at"].gather(priced["event"])
    rows = pl.concat([priced.select("revenue_before", "revenue_after"), parties, at.to_frame()], how="horizontal")
    share = pl.col("share_millionths")
    return SHARED.select(
        rows.with_row_index("row")
        .filter(pl.col("partner_id").is_not_null())
        .join(terms.shares, on=["partner_id", "price_id"])
        .filter(
            (pl.col("valid_from") <= pl.col("occurred_at"))
            & (pl.col("valid_to").is_null() | (pl.col("occurred_at") < pl.col("valid_to")))
        )
        .with_columns(amount=apply_factor(pl.col("revenue_after"), share) - apply_factor(pl.col("revenue_before"), share))
    )
