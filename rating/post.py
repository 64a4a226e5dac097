"""Priced rows become POSTINGS: one per event, price and role, with everything that explains the amount."""

from __future__ import annotations

import polars as pl

from rating.counted_for import name_aggregates
from rating.periods import month_name, period_end
from rating.terms import Terms
from schemas.ledger import POSTINGS, Role
from schemas.money import to_amount

_POSITION = ["stream", "stream_partition", "stream_offset"]
_DETAILS = [
    *("account_id", "subscription_id", "meter_id", "price_id", "price_version"),
    *("quantity_scale", "currency", "tax_class"),
]


def post_charges(events: pl.DataFrame, priced: pl.DataFrame, shared: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """POSTINGS, ordered by position; `stream_row` numbers the rows of one message.

    Args:
        events: EVENTS with `event`.
        priced: PRICED.
        shared: SHARED.
    """
    if priced.is_empty():
        return POSTINGS.empty()
    owed = priced.select(
        row=pl.int_range(pl.len(), dtype=pl.UInt32),
        amount=pl.col("revenue_after") - pl.col("revenue_before"),
    ).with_columns(name_roles(priced["charge"], terms))
    shares = shared.select("row", "amount", "partner_id", role=pl.lit(Role.SHARE.value)).select(owed.columns)
    rows = _ordered(pl.concat([owed, shares]) if shares.height else owed, events, priced, terms)
    told = priced.drop("revenue_before", "revenue_after")[rows["row"]]
    details = terms.usage.select(_DETAILS)[told["charge"]]
    whose = name_aggregates(told, terms).select("counted_for")
    origin = events.select(*_POSITION, "event_source", "event_id", "occurred_at")[told["event"]]
    period = _periods(told["usage_period"])
    whole = pl.concat(
        [rows.drop("row"), told.drop("usage_period", "counted_for"), details, whose, origin, period], how="horizontal"
    )
    return POSTINGS.select(whole.with_columns(_written(terms)))


def name_roles(charge: pl.Series, terms: Terms) -> list[pl.Expr | pl.Series]:
    """`role` and `partner_id` of rows by these prices: revenue, or a carrier's cost."""
    if terms.is_cost is None:
        return [pl.lit(Role.REVENUE.value).alias("role"), pl.lit(None, pl.String).alias("partner_id")]
    carrier = terms.usage["carrier_id"].gather(charge).alias("partner_id")
    cost = pl.lit(carrier.is_not_null())
    return [pl.when(cost).then(pl.lit(Role.COST.value)).otherwise(pl.lit(Role.REVENUE.value)).alias("role"), carrier]


def _ordered(rows: pl.DataFrame, events: pl.DataFrame, priced: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The rows by position, event and price, each with its shares behind it, with `stream_row`.

    Sorted by one number, and before the wide columns are gathered: sorting by names would cost half the batch. An account has
    one partner, so two rows of one event, price and role are two agreements of it; the amount orders them.
    """
    rank, message = _arrival(events)
    where = priced.select("event", "charge")[rows["row"]]
    order = (
        rank.gather(where["event"]).cast(pl.UInt64) * (1 << 33)
        + terms.price_order.gather(where["charge"]).cast(pl.UInt64) * 2
        + (rows["role"] == Role.SHARE.value).cast(pl.UInt64)
    )
    placed = rows.with_columns(message=message.gather(where["event"]), order=order)
    if rows.height > priced.height:
        placed = placed.sort("order", "amount")
    elif not order.is_sorted():
        placed = placed[order.arg_sort()]
    number = pl.int_range(pl.len(), dtype=pl.Int32)
    begins = pl.col("message").ne_missing(pl.col("message").shift(1))
    first = pl.when(begins).then(number).otherwise(None).forward_fill()
    return placed.select(*rows.columns, stream_row=number - first)


def _arrival(events: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """For each event its place by position, and the number of its message (UInt32 each)."""
    number = pl.int_range(pl.len(), dtype=pl.UInt32)
    streams = pl.Enum(events["stream"].unique().sort())
    position = events.select(pl.col("stream").cast(streams).to_physical(), *_POSITION[1:], "event_index", place=number)
    ordered = position if _is_ordered(position) else position.sort(*_POSITION, "event_index", "place")
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in _POSITION)
    ranked = ordered.select("place", rank=number, message=begins.cast(pl.UInt32).cum_sum())
    if not ordered["place"].is_sorted():
        ranked = ranked.sort("place")
    return ranked["rank"], ranked["message"]


def _is_ordered(position: pl.DataFrame) -> bool:
    """Whether the events came by position already, as those of one source do."""
    offset, index = pl.col("stream_offset"), pl.col("event_index")
    later = (offset < offset.shift(-1)) | ((offset == offset.shift(-1)) & (index <= index.shift(-1)))
    one_source = (pl.col(name).min() == pl.col(name).max() for name in _POSITION[:2])
    return bool(position.select(later.all() & pl.all_horizontal(one_source)).item())


def _periods(usage_period: pl.Series) -> pl.DataFrame:
    """`usage_period`, `usage_period_end` and `usage_month`. A batch has few periods, so each is worked out once."""
    days = usage_period.unique().sort()
    start = pl.col("usage_period")
    told = days.to_frame().with_columns(
        usage_period_end=period_end(start, start.dt.day()),  # a period starts on the billing day
        usage_month=month_name(start),
    )
    return told[days.search_sorted(usage_period)]


def _written(terms: Terms) -> list[pl.Expr]:
    """Columns that are worked out when the row is written."""
    return [
        pl.lit("usage").alias("charge"),
        pl.lit(terms.book_version, pl.Int32).alias("book_version"),
        pl.lit(terms.roster_version, pl.Int32).alias("roster_version"),
        pl.col("before_quanta").fill_null(0),
        to_amount(pl.col("amount")).alias("amount"),
        pl.lit(None, pl.String).alias("corrects"),
    ]
