"""Fees by the month or year, due in advance and prorated by day.

The aggregate of a recurring fee is licence-days: for each day of a service period, the licences held on it.

    f = fee x licence-days / days in the service period,  rounded half-up at scale 18, then the discount

A month's service period starts on the account's billing day, a year's on the anniversary of the subscription's first day.
A day belongs to the terms that are in force when the local day begins to be charged: stretches are cut at local days.
"""

from __future__ import annotations

import polars as pl

from rating.kernel import apply_factor, prorate
from rating.periods import local_day, period_start
from rating.run_rows import add_shares, post_changes
from rating.stretches import FAR
from rating.terms import Terms
from rating.tiers import PRICE_LIMIT
from schemas.errors import BrokenPromise
from schemas.ledger import AGGREGATE_KEY
from schemas.metrics import FEES
from schemas.money import divide_half_up, to_amount
from schemas.period import Period

_MONTHS_A_YEAR = 12


def post_fees(period: Period, terms: Terms, posted: pl.DataFrame, starts: Period, first_offset: int = 0) -> pl.DataFrame:
    """Recurring fees that the run for a period adds to the ledger.

    Due are the service periods that start from `starts` on, up to and including the day on which the account's usage period
    of `period` ends: what has begun by then, and the one that begins with it, in advance.

    Args:
        posted: POSTINGS of recurring fees so far, of all runs.
        starts: First month whose fees are billed from here; earlier ones were billed elsewhere.
        first_offset: Offset of the run's first row.

    Returns:
        POSTINGS of stream `run:<period>`: what is due less what was posted, per subscription, price version, service period,
        role and partner.

    Raises:
        BrokenPromise: A fee times its licences is beyond what is exact.
    """
    charges = _with_days(terms)
    covered = pl.concat([_months(charges, period, starts), _years(charges, period, starts)])
    recent = posted.filter(
        (pl.col("charge") == "recurring")
        & (pl.col("usage_month") >= str(starts))
        & (pl.col("usage_month") <= str(period.next()))
    )
    return post_changes(period, add_shares(_revenue(covered), terms), recent, terms, first_offset)


def monthly_fees(terms: Terms) -> pl.DataFrame:
    """FEES: what each recurring price is worth a month, while it does not change. Ordered by subscription, price and time."""
    charges = _with_days(terms)
    _guard(charges, pl.col("licences"), pl.lit(1))
    fee = apply_factor(pl.col("base") + pl.col("unit_price") * pl.col("licences"), pl.col("kept_millionths"))
    monthly = pl.when(pl.col("interval") == "year").then(divide_half_up(fee, _MONTHS_A_YEAR)).otherwise(fee)
    fees = charges.with_columns(
        monthly_fee=to_amount(monthly),
        fee_from=pl.col("from_day"),
        fee_to=pl.when(pl.col("charged_to") < FAR).then(pl.col("to_day")),
    )
    return FEES.select(fees.filter(pl.col("from_day") < pl.col("to_day")).sort("subscription_id", "price_id", "fee_from"))


def _with_days(terms: Terms) -> pl.DataFrame:
    """CHARGES of recurring prices with their fee (`base`, `unit_price`) and local days: charged and active."""
    charges = terms.recurring.join(terms.steps.select("price", "base", "unit_price"), on="price")
    return charges.with_columns(
        local_day(charges, "charged_from").alias("from_day"),
        local_day(charges, "charged_to").alias("to_day"),
        local_day(charges, "active_from").alias("active_day"),
    )


def _months(charges: pl.DataFrame, period: Period, starts: Period) -> pl.DataFrame:
    """Monthly fees, one row per service period they touch: `usage_period` and `usage_period_end`."""
    shift = pl.duration(days=pl.col("billing_day").cast(pl.Int64) - 1)
    last_day = pl.col("to_day") - pl.duration(days=1)
    monthly = charges.filter((pl.col("interval") == "month") & (pl.col("from_day") < pl.col("to_day"))).with_columns(
        first=pl.max_horizontal(period_start(pl.col("from_day"), pl.col("billing_day")) - shift, pl.lit(starts.first_day)),
        last=pl.min_horizontal(period_start(last_day, pl.col("billing_day")) - shift, pl.lit(period.next().first_day)),
    )
    return (
        monthly.filter(pl.col("first") <= pl.col("last"))
        .with_columns(month=pl.date_ranges("first", "last", "1mo"))
        .explode("month")
        .with_columns(usage_period=pl.col("month") + shift, usage_period_end=pl.col("month").dt.offset_by("1mo") + shift)
        .drop("first", "last", "month")
    )


def _years(charges: pl.DataFrame, period: Period, starts: Period) -> pl.DataFrame:
    """Yearly fees, one row per service period they touch; a year from 29 February begins on the 28th where there is none."""
    following = period.next()
    last_start = pl.date(following.year, following.month, pl.col("billing_day"))
    years = pl.int_ranges(0, pl.lit(following.year) - pl.col("active_day").dt.year() + 1, dtype=pl.Int64)
    return (
        charges.filter((pl.col("interval") == "year") & (pl.col("active_day").dt.year() <= following.year))
        .with_columns(years=years)
        .explode("years")
        .with_columns(usage_period=_anniversary(pl.col("years")), usage_period_end=_anniversary(pl.col("years") + 1))
        .filter((pl.col("usage_period") >= starts.first_day) & (pl.col("usage_period") <= last_start))
        .drop("years")
    )


def _anniversary(years: pl.Expr) -> pl.Expr:
    return pl.col("active_day").dt.offset_by(pl.format("{}y", years))


def _revenue(covered: pl.DataFrame) -> pl.DataFrame:
    """DUE of revenue with `first_day` and `zone`, one row per aggregate."""
    begins = pl.max_horizontal("from_day", "usage_period")
    days = (pl.min_horizontal("to_day", "usage_period_end") - begins).dt.total_days()
    held = covered.with_columns(
        first_day=begins,
        licence_days=days * pl.col("licences").cast(pl.Int64),
        period_days=(pl.col("usage_period_end") - pl.col("usage_period")).dt.total_days(),
    ).filter(days > 0)
    once = ["account_id", "subscription_id", "usage_period_end", "partner_id", "zone"]
    once += ["meter_id", "quantity_scale", "currency", "tax_class"]
    terms = ["base", "unit_price", "kept_millionths", "period_days"]
    fees = held.group_by(AGGREGATE_KEY).agg(
        pl.col(*once, *terms).first(), pl.col("first_day").min(), quanta=pl.col("licence_days").sum()
    )
    _guard(fees, pl.col("quanta"), pl.col("period_days"))
    fee = pl.col("base") + prorate(pl.col("unit_price"), pl.col("quanta"), pl.col("period_days"))
    return fees.with_columns(
        charge=pl.lit("recurring"), role=pl.lit("revenue"), scaled=apply_factor(fee, pl.col("kept_millionths"))
    )


def _guard(fees: pl.DataFrame, count: pl.Expr, per: pl.Expr) -> None:
    """Raises BrokenPromise when base + fee x count / per is beyond PRICE_LIMIT."""
    room = (PRICE_LIMIT - 1 - pl.col("base").abs()) // (pl.col("unit_price").abs() // per + 1)
    wrong = fees.filter(count > room)
    if wrong.height:
        raise BrokenPromise(
            f"the fee {wrong['price_id'][0]} of subscription {wrong['subscription_id'][0]} is beyond what is exact"
        )
