"""Dynamic: the price comes with the event, as the price of a unit or as the amount of the whole event.

What a carrier, a cloud or a marketplace charged for an event is known to the sender alone. The property that holds it is named
by the meter, and rows of the ledger keep it, so a retraction or a replay needs no message. Each event is priced by itself, so
neither order nor batches matter; an event of quantity 0 costs nothing, whatever it brings.
Source: Lago `dynamic`; OpenMeter `dynamic` price.
"""

from __future__ import annotations

import polars as pl

from rating.quantities import read_quantities
from rating.recalled import kept_values
from rating.terms import Terms
from rating.tiers import PRICE_LIMIT
from schemas.usage import RejectReason


def judge_money(candidates: pl.DataFrame, events: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The rows with `problem` where the event brings no money that its dynamic price can take; as they are elsewhere.

    Args:
        candidates: `event`, `meter`, `charge`, `quantity_quanta` and `problem`.
        events: EVENTS with the `data.<property>` columns.
    """
    price = terms.usage["price"].gather(candidates["charge"])
    values = kept_values(candidates, events, terms.meters)
    told = candidates.select("quantity_quanta").hstack([price, values])
    read = told.hstack(_read(told, terms))
    most = (PRICE_LIMIT - 1) // pl.when("by_unit").then(
        pl.col("quantity_quanta").cast(pl.Int128).clip(lower_bound=1)
    ).otherwise(1)
    bad = read.select(pl.col("by_unit").is_not_null() & (pl.col("money").is_null() | (pl.col("money") > most)).fill_null(True))
    reason = pl.when(bad.to_series()).then(pl.lit(RejectReason.BAD_PRICE.value)).otherwise(None)
    return candidates.with_columns(problem=pl.coalesce("problem", reason))


def price_money(rows: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The rows with `revenue_after` of those that have a dynamic price: what the event brings, within the price's bounds.

    Args:
        rows: COUNTED with `price`, `to_quanta` (what is charged of the event) and `revenue_after` (Int128, scale 18).
    """
    read = rows.select("price", "value", "to_quanta", "revenue_after")
    read = read.hstack(_read(read, terms))
    whole = pl.when("by_unit").then(pl.col("money") * pl.col("to_quanta")).otherwise("money")
    bounded = whole.clip(pl.col("minimum"), pl.col("maximum"))
    charged = pl.col("by_unit").is_not_null() & (pl.col("to_quanta") > 0)
    return rows.with_columns(read.select(pl.when(charged).then(bounded).otherwise("revenue_after").alias("revenue_after")))


def _read(rows: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """`money` (Int128), `by_unit`, `minimum` and `maximum` of rows with a dynamic price; null for all others."""
    terms_of = rows.select("price").join(terms.dynamic, on="price", how="left", maintain_order="left")
    money = pl.Series("money", [None], pl.Int128).new_from_index(0, rows.height)
    for scale in terms_of["decimals"].drop_nulls().unique():
        here = terms_of["decimals"].eq_missing(pl.Series([scale], dtype=pl.Int8))
        found = read_quantities(rows["value"].filter(here), int(scale), wide=True)["quantity_quanta"]
        money = money.scatter(here.arg_true(), found)
    return terms_of.select("by_unit", "minimum", "maximum").hstack([money])
