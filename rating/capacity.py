"""Capacity: one price over several meters; the smallest tier that holds the peak of each costs its flat fee.

Each event says which tier it needs by itself: the first whose limit for its meter is not below its quantity. What a period
needs is the largest of those numbers, so the aggregate is a plain maximum of tier numbers, however events are ordered and cut,
and the price a stair step over it. Rows of the ledger have the quantity as reported, and the tier's number before and after.
Source: Kill Bill `CAPACITY` usage.
"""

from __future__ import annotations

import polars as pl

from rating.terms import Terms
from schemas.ledger import AGGREGATE_KEY


def number_tiers(countable: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """COUNTABLE in which events of capacity prices count by the number of the tier they need, in quanta of their meter."""
    where = terms.usage.select("price", "meter")[countable["charge"]]
    return countable.with_columns(_numbered(countable["quantity_quanta"], where, terms))


def number_recalled(rows: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """POINT_COLUMNS of the ledger's rows, counted in the same way."""
    names = AGGREGATE_KEY[:3]
    prices = terms.usage.select(*names, "price").unique(names)
    meters = terms.meters.select("meter_id", "meter")
    where = rows.join(prices, on=names, how="left", maintain_order="left")
    where = where.join(meters, on="meter_id", how="left", maintain_order="left")
    return rows.with_columns(_numbered(rows["quantity_quanta"], where, terms))


def as_reported(counted: pl.DataFrame, countable: pl.DataFrame) -> pl.DataFrame:
    """COUNTED with the quantities that the events reported."""
    said = countable.select("event", "charge", reported=pl.col("quantity_quanta") * pl.col("weight"))
    told = counted.join(said, on=["event", "charge"], how="left", maintain_order="left")
    return told.with_columns(quantity_quanta="reported").select(counted.columns)


def _numbered(quantity: pl.Series, where: pl.DataFrame, terms: Terms) -> pl.Series:
    """`quantity_quanta`: the tier's number where `price` and `meter` of the row have limits; 0 of 0, as it is elsewhere."""
    numbers = quantity
    for price, meter, bounds, unit in terms.capacity.iter_rows():
        here = ((where["price"] == price) & (where["meter"] == meter)).fill_null(False)
        if here.any():
            found = pl.Series(bounds, dtype=pl.Int64).search_sorted(quantity, side="left").cast(pl.Int64) * unit
            numbers = found.zip_with(here, numbers)
    return numbers.alias("quantity_quanta")
