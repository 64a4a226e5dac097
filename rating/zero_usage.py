"""Flat fees that are due although nothing was used: prices whose plan asks for the first tier's flat fee at zero usage.

The stream posts that fee with the first event of an aggregate. Where no event came, the bill run posts it. Should usage
arrive later after all, the stream, which never reads what a run made, posts the fee again, and the next run takes its own back.
"""

from __future__ import annotations

import polars as pl

from rating.hierarchy import ACCOUNT, GROUP
from rating.kernel import apply_factor
from rating.periods import local_day, period_end
from rating.run_rows import add_shares, post_changes
from rating.terms import Terms
from schemas.ledger import AGGREGATE_KEY, Role
from schemas.period import Period

_FEE = ["counted_for", "price_id", "usage_period", "party"]
"""A fee is due once per price and those who are counted together, whatever version is in force."""


def post_zero_usage(
    period: Period, terms: Terms, used_keys: pl.DataFrame, posted: pl.DataFrame, first_offset: int = 0
) -> pl.DataFrame:
    """Zero-usage fees of a period, and earlier ones that usage has made void.

    Args:
        used_keys: AGGREGATE_KEY of every aggregate that has rows from events, of all periods.
        posted: POSTINGS that earlier runs made by this function.
        first_offset: Offset of the run's first row; several kinds of rows share the stream `run:<period>`.

    Returns:
        POSTINGS with quantity 0: for each subscription active in its usage period that starts in `period` and each of its
        prices without usage there, the fee of the version in force last.
    """
    used = used_keys.with_columns(_party()).select(_FEE).unique()
    due = add_shares(_revenue(period, terms).join(used, on=_FEE, how="anti", nulls_equal=True), terms)
    before = posted.with_columns(_party())
    standing = before.join(used, on=_FEE, how="anti", nulls_equal=True)
    void = before.join(used, on=_FEE, how="semi", nulls_equal=True)
    fresh = due.join(standing.select(AGGREGATE_KEY).unique(), on=AGGREGATE_KEY, how="anti")
    return post_changes(period, fresh, void, terms, first_offset)


def _party() -> pl.Expr:
    """With whom terms were agreed, of those who share a total: own terms and discounts have aggregates of their own.

    Null for a subscription that is counted by itself, whose versions follow each other; also for the list price.
    """
    shared = pl.col("counted_for").str.contains(f"^(?:{ACCOUNT}|{GROUP})")
    return pl.when(shared).then(pl.col("price_version").str.extract("/(.*)$")).alias("party")


def _revenue(period: Period, terms: Terms) -> pl.DataFrame:
    """DUE of revenue with `first_day` and `zone`: one row per aggregate with a fee at zero.

    Where several are counted together, the subscription that has had the price longest pays; of those the first by its id.
    """
    charges = terms.usage.filter(pl.col("at_zero") != 0)
    start = pl.date(period.year, period.month, pl.col("billing_day"))
    placed = charges.with_columns(
        local_day(charges, "charged_from").alias("from_day"),
        local_day(charges, "charged_to").alias("to_day"),
        usage_period=start,
        usage_period_end=period_end(start, pl.col("billing_day")),
    ).with_columns(_party())
    active = (pl.col("from_day") < pl.col("usage_period_end")) & (pl.col("usage_period") < pl.col("to_day"))
    return (
        placed.filter(active & (pl.col("from_day") < pl.col("to_day")))
        .sort("charged_to", "charged_from", "account_id", "subscription_id", descending=[False, True, True, True])
        .unique(_FEE, keep="last", maintain_order=True)
        .with_columns(
            charge=pl.lit("usage"),
            role=pl.lit(Role.REVENUE.value),
            first_day=pl.max_horizontal("from_day", "usage_period"),
            quanta=pl.lit(0, pl.Int64),
            scaled=apply_factor(pl.col("at_zero"), pl.col("kept_millionths")),
        )
    )
