"""Priced rows become POSTINGS: one per event, price and role, with everything that explains the amount."""

from __future__ import annotations

import polars as pl

from rating.periods import month_name, period_end
from rating.terms import Terms
from schemas.ledger import POSTINGS, Role
from schemas.money import to_amount

_POSITION = ["stream", "stream_partition", "stream_offset"]


def post_charges(events: pl.DataFrame, priced: pl.DataFrame, shared: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """POSTINGS, ordered by position; `stream_row` numbers the rows of one message.

    Args:
        events: EVENTS with `event`.
        priced: PRICED.
        shared: SHARED.
    """
    if priced.is_empty():
        return POSTINGS.empty()
    revenue = priced.with_row_index("row").select(
        "row",
        role=pl.lit(Role.REVENUE.value),
        amount=pl.col("revenue_after") - pl.col("revenue_before"),
        partner_id=pl.lit(None, pl.String),
    )
    shares = shared.select("row", "amount", "partner_id", role=pl.lit(Role.SHARE.value)).select(revenue.columns)
    rows = _ordered(pl.concat([revenue, shares]), events, priced, terms)
    told = priced.drop("revenue_before", "revenue_after")[rows["row"]]
    details = terms.usage.drop("partner_id")[told["charge"]]
    origin = events.select(*_POSITION, "event_source", "event_id", "occurred_at")[told["event"]]
    whole = pl.concat([rows.drop("row"), told, details, origin], how="horizontal")
    return POSTINGS.select(whole.with_columns(_written(terms)))


def _ordered(rows: pl.DataFrame, events: pl.DataFrame, priced: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The rows by position, event, price and role, with `stream_row`.

    Sorted by numbers instead of names, and before the wide columns are gathered: sorting strings would cost half the batch.
    An account has one partner, so two rows of one event, price and role are two agreements of it; the amount orders them.
    """
    streams = pl.Enum(events["stream"].unique().sort())
    position = events.select(pl.col("stream").cast(streams).to_physical(), *_POSITION[1:], "event_index")
    where = priced.select("event", "charge")[rows["row"]]
    ordered = pl.concat(
        [rows, where, position[where["event"]], terms.price_order.gather(where["charge"]).to_frame()], how="horizontal"
    ).sort(*_POSITION, "event_index", "event", "price_order", "role", "amount")
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in _POSITION)
    number = pl.int_range(pl.len(), dtype=pl.Int32)
    first = pl.when(begins).then(number).otherwise(None).forward_fill()
    return ordered.select(*rows.columns, stream_row=number - first)


def _written(terms: Terms) -> list[pl.Expr]:
    """Columns that are worked out when the row is written."""
    return [
        pl.lit("usage").alias("charge"),
        pl.lit(terms.book_version, pl.Int32).alias("book_version"),
        pl.lit(terms.roster_version, pl.Int32).alias("roster_version"),
        period_end(pl.col("usage_period"), pl.col("billing_day")).alias("usage_period_end"),
        month_name(pl.col("usage_period")).alias("usage_month"),
        pl.col("before_quanta").fill_null(0),
        to_amount(pl.col("amount")).alias("amount"),
        pl.lit(None, pl.String).alias("corrects"),
    ]
