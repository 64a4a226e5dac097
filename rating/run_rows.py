"""What a bill run adds to the ledger by itself: fees that are due without an event. Shared by recurring
fees, zero usage and limits.

A run posts the difference between what is due now and what was posted before. So a subscription that ends early gets a
negative row by itself, and a run that is repeated posts nothing.
"""

from __future__ import annotations

import polars as pl

from rating.periods import local_day, month_name
from rating.shares import share_of
from rating.terms import Terms
from schemas.frames import FrameSchema
from schemas.ledger import AGGREGATE_KEY, POSTINGS, Role
from schemas.money import to_amount
from schemas.period import Period

DUE = FrameSchema(
    "DUE",
    {
        "account_id": pl.String,
        "subscription_id": pl.String,
        "counted_for": pl.String,
        "price_id": pl.String,
        "price_version": pl.String,
        "usage_period": pl.Date,
        "usage_period_end": pl.Date,
        "role": pl.String,
        "partner_id": pl.String,
        "charge": pl.String,
        "meter_id": pl.String,
        "quantity_scale": pl.Int8,
        "currency": pl.String,
        "tax_class": pl.String,
        "quanta": pl.Int64,  # the aggregate now
        "scaled": pl.Int128,  # what is due for it, scale 18
    },
)
"""One row per aggregate, role and partner: what should stand in the ledger."""

_PARTY = [*AGGREGATE_KEY, "role", "partner_id"]
_TOLD = [name for name in DUE.names() if name not in {*_PARTY, "quanta", "scaled"}]


def add_shares(revenue: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """DUE of revenue and of the partners' parts of it.

    Args:
        revenue: DUE with `partner_id` (the account's partner), `zone` and `first_day`: the agreement in force on that day,
            in the account's zone, counts.
    """
    shares = revenue.filter(pl.col("partner_id").is_not_null()).join(terms.shares, on=["partner_id", "price_id"])
    shares = shares.with_columns(local_day(shares, "valid_from"), local_day(shares, "valid_to"))
    day = pl.col("first_day")
    in_force = (pl.col("valid_from") <= day) & (pl.col("valid_to").is_null() | (day < pl.col("valid_to")))
    parts = shares.filter(in_force).with_columns(role=pl.lit(Role.SHARE.value))
    parts = parts.with_columns(share_of(parts, "scaled", terms).fill_null(0).alias("scaled"))  # no units, so nothing per unit
    owed = parts.group_by(_PARTY).agg(pl.col(*_TOLD, "quanta").first(), pl.col("scaled").sum())
    due = revenue.with_columns(role=pl.lit(Role.REVENUE.value), partner_id=pl.lit(None, pl.String))
    return pl.concat([DUE.select(due), DUE.select(owed)])


def post_changes(period: Period, due: pl.DataFrame, posted: pl.DataFrame, terms: Terms, first_offset: int) -> pl.DataFrame:
    """POSTINGS that bring the ledger from what was posted to what is due.

    Args:
        due: DUE.
        posted: POSTINGS of the same kind so far; an aggregate that is posted and no longer due is taken back.
        first_offset: Where the run's rows go on counting.

    Returns:
        POSTINGS in stream `run:<period>`, one message per row, ordered by account, aggregate, role and partner. What is due
        for the first time is written even where quantity and amount are 0.
    """
    had = posted.group_by(_PARTY).agg(
        pl.col(*_TOLD).first(),
        had_quanta=pl.col("quantity_quanta").sum(),
        had_scaled=pl.col("amount").to_physical().sum(),
    )
    both = due.join(had, on=_PARTY, how="full", coalesce=True, nulls_equal=True, suffix="_had")
    told = [pl.coalesce(name, f"{name}_had").alias(name) for name in _TOLD]
    numbers = pl.col("quanta", "scaled", "had_quanta", "had_scaled").fill_null(0)
    moved = (pl.col("quanta") != pl.col("had_quanta")) | (pl.col("scaled") != pl.col("had_scaled"))
    changed = (
        both.with_columns(*told, numbers, new=pl.col("had_quanta").is_null())
        .filter(moved | pl.col("new"))
        .sort("account_id", *_PARTY)
    )
    return POSTINGS.select(changed.with_columns(_written(period, terms, first_offset)))


def _written(period: Period, terms: Terms, first_offset: int) -> list[pl.Expr]:
    nothing = dict.fromkeys(("event_source", "event_id", "dimensions", "windows", "value", "corrects"), pl.String)
    return [
        *(pl.lit(None, dtype).alias(name) for name, dtype in nothing.items()),
        pl.lit(None, POSTINGS.columns["occurred_at"]).alias("occurred_at"),
        pl.lit(None, pl.Int64).alias("reported_quanta"),
        pl.lit(f"run:{period}").alias("stream"),
        pl.lit(0, pl.Int32).alias("stream_partition"),
        (pl.int_range(pl.len(), dtype=pl.Int64) + first_offset).alias("stream_offset"),
        pl.lit(0, pl.Int32).alias("stream_row"),
        pl.lit(0, pl.Int32).alias("tier"),
        pl.lit(terms.book_version, pl.Int32).alias("book_version"),
        pl.lit(terms.roster_version, pl.Int32).alias("roster_version"),
        month_name(pl.col("usage_period")).alias("usage_month"),
        (pl.col("quanta") - pl.col("had_quanta")).alias("quantity_quanta"),
        pl.col("had_quanta").alias("before_quanta"),
        pl.col("quanta").alias("after_quanta"),
        to_amount(pl.col("scaled") - pl.col("had_scaled")).alias("amount"),
    ]
