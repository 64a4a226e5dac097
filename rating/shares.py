"""What a partner is due of a row under his agreements: a percentage, graduated percentages, or an amount per unit.

    percentage    g(f) = f x percent                       of the revenue, or of revenue and cost: the margin
    tiers         g(f) = each part of f at the percentage of the tier that it falls into
    per unit      g    = units x amount

A row's share is g after, less g before, and g is rounded half-up at scale 18 inside. So the shares of an aggregate add up to
g of what it costs, however its usage was cut and in whatever order it came.

A percentage of the margin is that percentage of the revenue, less that percentage of the event's costs: a row beside each.
Every row belongs to one aggregate and adds up with it, which a function of both aggregates together could not promise. An event
that costs more than it earns makes a negative share: the partner bears his part of the loss. Costs in another currency than
the revenue are left out; nothing is converted.
"""

from __future__ import annotations

import polars as pl

from rating.kernel import apply_factor
from rating.terms import Terms
from schemas.frames import FrameSchema

SHARED = FrameSchema("SHARED", {"row": pl.UInt32, "partner_id": pl.String, "amount": pl.Int128})
"""One row per row of PRICED and agreement that covers it; `row` points into PRICED."""


def share_charges(priced: pl.DataFrame, events: pl.DataFrame, terms: Terms, sold: pl.DataFrame | None = None) -> pl.DataFrame:
    """SHARED: what the account's partner is due of each row under the agreements in force when it happened.

    Args:
        priced: PRICED.
        events: EVENTS with `event`.
        sold: `event`, `price_id` and `currency`: what customers are charged by. Costs are taken off where an agreement on the
            margin covers it. None: the rows of `priced` say it.
    """
    if terms.shares.is_empty():
        return SHARED.empty()
    parties = terms.usage.select("partner_id", "price_id")[priced["charge"]]
    at = events["occurred_at"].gather(priced["event"])
    step = priced.select(step=pl.col("after_quanta") - pl.col("before_quanta").fill_null(0))
    rows = priced.select("event", "charge", "revenue_before", "revenue_after").hstack([*parties, at, *step])
    rows = rows.with_row_index("row").filter(pl.col("partner_id").is_not_null())
    found = rows.join(terms.shares, on=["partner_id", "price_id"]).filter(_in_force())
    shared = SHARED.select(found.with_columns(_due(found, terms)))
    if terms.margins is None:
        return shared
    return pl.concat([shared, _less_costs(rows, terms, sold if sold is not None else sold_by(rows, terms))])


def sold_by(charged: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """What customers are charged by: `event`, `price_id` and `currency` of rows with `event` and `charge`."""
    told = charged.select("event", "charge")
    if terms.is_cost is not None:
        told = told.filter(~terms.is_cost.gather(told["charge"]))
    return told.select("event").hstack(terms.usage.select("price_id", "currency")[told["charge"]])


def share_of(rows: pl.DataFrame, money: str, terms: Terms) -> pl.Series:
    """g of a column of money (Int128), by the columns of SHARES; null where the share goes by units."""
    whole = rows.select(apply_factor(pl.col(money), pl.col("share_millionths"))).to_series()
    if terms.share_tiers.is_empty():
        return whole
    return rows.select(pl.coalesce(whole, _graduated(rows, money, terms.share_tiers))).to_series()


def _due(found: pl.DataFrame, terms: Terms) -> pl.Series:
    """`amount` of each row, by the columns of SHARES beside it."""
    part = (share_of(found, "revenue_after", terms) - share_of(found, "revenue_before", terms)).alias("amount")
    if found["per_quantum"].null_count() == found.height:
        return part
    return found.select(pl.coalesce(part, pl.col("per_quantum") * pl.col("step")).alias("amount")).to_series()


def _graduated(rows: pl.DataFrame, money: str, tiers: pl.DataFrame) -> pl.Series:
    """Each part of the money at the share of its tier; null where the agreement has no tiers.

    Bounds have at most 12 decimals, so whole tiers are exact and only the last part is rounded. What is below zero, a row that
    takes an event back, is as much as what it undoes.
    """
    amount = pl.col(money).abs()
    total = pl.lit(0, pl.Int128)
    told = rows.select("agreement", money)
    for number in tiers["tier"].unique().sort():
        here = tiers.filter(pl.col("tier") == number).select("agreement", "revenue_from", "revenue_to", "tier_millionths")
        told = told.join(here, on="agreement", how="left", maintain_order="left", suffix=f"_{number}")
        start, end, millionths = (f"{name}_{number}" if number else name for name in here.columns[1:])
        within = (pl.min_horizontal(amount, pl.col(end)) - pl.col(start)).clip(lower_bound=0)
        total = total + apply_factor(within, pl.col(millionths)).fill_null(0)
    has = pl.col("tier_millionths").is_not_null()
    return told.select(pl.when(has).then(pl.col(money).sign() * total)).to_series()


def _less_costs(rows: pl.DataFrame, terms: Terms, sold: pl.DataFrame) -> pl.DataFrame:
    """SHARED of costs, negative: each once, by the first price, in order of id, that an agreement on the margin covers."""
    if terms.is_cost is None or terms.margins is None:
        return SHARED.empty()
    costs = rows.filter(terms.is_cost.gather(rows["charge"])).drop("price_id")
    costs = costs.hstack(terms.usage.select("currency")[costs["charge"]])
    agreed = sold.unique().join(terms.margins, on="price_id")
    found = (
        costs.join(agreed, on=["event", "partner_id", "currency"])
        .filter(_in_force())
        .sort("row", "price_id")
        .unique("row", keep="first", maintain_order=True)
    )
    share = pl.col("share_millionths")
    taken = apply_factor(pl.col("revenue_before"), share) - apply_factor(pl.col("revenue_after"), share)
    return SHARED.select(found.with_columns(amount=taken))


def _in_force() -> pl.Expr:
    at = pl.col("occurred_at")
    return (pl.col("valid_from") <= at) & (pl.col("valid_to").is_null() | (at < pl.col("valid_to")))
