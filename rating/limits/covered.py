"""Which lines a limit looks at: those of its party and usage period, of the prices it covers; fees where it says so."""

from __future__ import annotations

import polars as pl

from rating.limits.compile import ACCOUNT_WIDE, Limits
from rating.limits.frames import PARTY


def cover_lines(grants: pl.DataFrame, costs: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """One row per grant and line that it covers: `grant`, `line` (rows of the two frames) and `place` in the list of prices.

    A line that is not of one price - what another limit added - is covered by limits that cover everything.
    """
    fees = limits.limits.select("limit", "fees", "subscription_id", everything=pl.col("covers").is_null())
    asked = (
        grants.with_row_index("grant").select("grant", "limit", *PARTY, "month").join(fees.drop("subscription_id"), on="limit")
    )
    lines = costs.with_row_index("line").select("line", *PARTY, "price_id", "fee", "month")
    wide = pl.col("subscription_id") == ACCOUNT_WIDE
    keys = ["account_id", "month"]
    of_account = asked.filter(wide).drop("subscription_id").join(lines.drop("subscription_id"), on=keys)
    of_one = asked.filter(~wide).join(lines, on=[*PARTY, "month"]).drop("subscription_id")
    met = pl.concat([of_account, of_one]).filter(~pl.col("fee") | pl.col("fees"))
    listed = met.filter(~pl.col("everything")).join(limits.covers, on=["limit", "price_id"])
    rest = met.filter(pl.col("everything")).with_columns(place=pl.lit(0, pl.Int64))
    return pl.concat([frame.select("grant", "line", pl.col("place").cast(pl.Int64)) for frame in (listed, rest)])


def order_limits(limits: Limits, *kinds: str) -> list[pl.Series]:
    """The limits of these kinds as steps, one after another; those of one step concern different parties.

    Limits of plans come before those of a subscription and these before those of an account; then those of listed prices
    before those of everything, those of a usage period before those of a contract, and by id.
    """
    told = limits.limits.filter(pl.col("kind").is_in(list(kinds))).with_columns(
        level=pl.when(pl.col("plan_id").is_not_null())
        .then(0)
        .when(pl.col("subscription_id").is_not_null())
        .then(1)
        .otherwise(2),
        party=pl.coalesce("subscription_id", "account_id", pl.lit("")),
    )
    order = [pl.col("priority"), pl.col("level"), pl.col("covers").is_null(), pl.col("over") != "period", pl.col("limit_id")]
    ranked = told.sort(order).with_columns(rank=pl.int_range(pl.len()).over("priority", "level", "party"))
    return [part["limit"] for part in ranked.partition_by("priority", "level", "rank", maintain_order=True)]
