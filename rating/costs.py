"""What a carrier charges us for the same event: its tariff beside the customer's prices, for every subscription.

A carrier's price looks at events as a price of a plan does: through a meter of its own, with filters, by any model, and its
aggregate is counted per subscription too. It costs what some price of the customer charges, and nothing by itself: an event
without a price is a reject, whatever it would have cost (rating/match.py).
"""

from __future__ import annotations

import polars as pl

from rating.kernel import MILLION
from rating.stretches import FAR, STRETCHES
from schemas.book import Book
from schemas.roster import Roster


def carrier_stretches(book: Book, roster: Roster) -> pl.DataFrame:
    """STRETCHES of carriers' prices: one row per subscription and version that reads an event type its plans are charged by.

    `holding` is the subscription's first; a stretch is as long as the version, because usage is charged by a plan beside it.
    """
    costs = book.prices.filter(pl.col("carrier_id").is_not_null())
    if costs.is_empty():
        return STRETCHES.empty()
    types = book.meters.select("meter_id", "event_type")
    sold = (
        book.prices.filter(pl.col("plan_id").is_not_null()).join(types, on="meter_id").select("plan_id", "event_type").unique()
    )
    holdings = roster.subscriptions.select("subscription_id", "plan_id").with_row_index("holding")
    used = holdings.join(sold, on="plan_id").group_by("subscription_id", "event_type").agg(pl.col("holding").min())
    return STRETCHES.select(
        used.join(costs.join(types, on="meter_id"), on="event_type").with_columns(
            pl.col("price_version").alias("terms_version"),
            pl.col("price_version").alias("list_version"),
            pl.lit(MILLION, pl.Int64).alias("kept_millionths"),
            pl.col("valid_from").alias("charged_from"),
            pl.col("valid_to").fill_null(FAR).alias("charged_to"),
        )
    )
