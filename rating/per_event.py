"""Prices of each event by itself: what a call, an order or a request costs does not depend on how much came before.

    amount = f(quantity - free part), rounded as the plan says, then the discount

f is in steps like that of every price, but of the event's own quantity; a connect fee is the flat fee of the first tier, a
minimum and a maximum bound f. An event of quantity 0 costs nothing.

Free are the first `free_events` events and the first `free_quanta` of a period; where a price has both, the allowance ends at
the first of the two to be used up. An event that crosses the free quantity is charged for the rest. The sum of a price with an
allowance depends on the order of arrival, unless f is proportional and only the quantity is free; without an allowance no
price of this kind depends on order.
Source: Lago `percentage`; CGRateS rates with connect fee, increments and rounding.
"""

from __future__ import annotations

import polars as pl

from rating.counted_for import name_aggregates, number_aggregates
from rating.counters import Counters
from rating.terms import Terms
from schemas.ledger import AGGREGATE_KEY
from schemas.money import divide_half_up


def place_events(rows: pl.DataFrame, terms: Terms, counters: Counters | None) -> pl.DataFrame:
    """The rows with EVENT_PRICES (rating/tiers.py) of their price, null for all others.

    Of those that have them f goes from nothing (`from_quanta` null) to what is charged of the event's quantity (`to_quanta`).

    Args:
        rows: COUNTED with `price`, `from_quanta` and `to_quanta`.
        counters: How many events each aggregate has had; None: no aggregate has begun.
    """
    told = rows.join(terms.event_prices, on="price", how="left", maintain_order="left")
    told = told.with_columns(_events_before(told, terms, counters), sign=_sign())
    quantity = pl.col("quantity_quanta").abs()
    before = pl.min_horizontal(pl.col("before_quanta").fill_null(0), "after_quanta")
    left = (
        pl.when(pl.col("free_quanta").is_null()).then(quantity).otherwise((pl.col("free_quanta") - before).clip(lower_bound=0))
    )
    none = pl.col("free_events").is_null() & pl.col("free_quanta").is_null()
    used_up = none | (pl.col("events_before") >= pl.col("free_events")).fill_null(False)
    charged = pl.when(used_up).then(quantity).otherwise(quantity - pl.min_horizontal(quantity, left))
    is_event = pl.col("divisor").is_not_null()
    return told.with_columns(
        from_quanta=pl.when(is_event).then(None).otherwise("from_quanta"),
        to_quanta=pl.when(is_event).then(charged).otherwise("to_quanta"),
    )


def _sign() -> pl.Expr:
    """-1 for a row that takes an event back."""
    return pl.when(pl.col("quantity_quanta") < 0).then(-1).otherwise(1).cast(pl.Int128)


def round_events(amount: str) -> pl.Expr:
    """The amount (Int128, 0 or more) of rows with EVENT_PRICES, divided and rounded; others as they are."""
    money, divisor = pl.col(amount), pl.col("divisor").fill_null(1)
    up = (money + divisor - 1) // divisor
    rounded = pl.when(pl.col("round_up").fill_null(False)).then(up).otherwise(divide_half_up(money, divisor))
    return pl.when(pl.col("divisor").is_null()).then(money).otherwise(rounded * pl.col("unit") * pl.col("sign")).alias(amount)


def _events_before(rows: pl.DataFrame, terms: Terms, counters: Counters | None) -> pl.Series:
    """How many events of its aggregate came before each row: in the ledger and in the batch."""
    if rows["free_events"].null_count() == rows.height:
        return pl.Series("events_before", [0], pl.Int64).new_from_index(0, rows.height)
    numbers = number_aggregates(rows, terms).alias("aggregate")
    step = rows.select(step=_sign().cast(pl.Int64)).to_series()
    keys = name_aggregates(rows, terms).with_columns(numbers, step, rows["usage_period"], rows["event"])
    reached = pl.col("step").cum_sum().over("aggregate", "usage_period", order_by="event")
    place = keys.select(reached - (pl.col("step") > 0)).to_series()
    earlier = counters.before(keys.select(AGGREGATE_KEY))["events"] if counters is not None else 0
    return (place + earlier).alias("events_before")
