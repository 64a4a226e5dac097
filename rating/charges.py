"""Who is charged what and when: one row per subscription, price version and stretch of time.

A company has hundreds of thousands of such rows. The joins that make them take many times the memory that they need in the end,
so they are made for some thousand subscriptions at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import polars as pl

from rating.costs import carrier_stretches
from rating.hierarchy import counted_for, root_accounts
from rating.stretches import carve_stretches
from rating.tiers import MAX_QUANTA, PRICE_LIMIT
from schemas.book import Book
from schemas.errors import BrokenPromise
from schemas.frames import INSTANT, FrameSchema
from schemas.ledger import AGGREGATE_KEY
from schemas.roster import Roster

CHARGES = FrameSchema(
    "CHARGES",
    {
        # looked up by
        "holder": pl.UInt32,  # number of the subscription
        "meter": pl.UInt32,  # row of Terms.meters; null for recurring
        "charged_from": INSTANT,
        "charged_to": INSTANT,  # FAR when open
        "filter_set": pl.UInt32,  # null: the price covers every event of its meter
        "during": pl.UInt32,  # row of Terms.during; null: the price covers all time
        # priced by
        "price": pl.UInt32,  # row of Terms.prices
        "aggregate": pl.UInt32,  # number of (counted_for, price, price version); null for recurring
        "kept_millionths": pl.Int64,  # what is left after the discount
        "at_zero": pl.Int128,  # f(0)
        "max_quanta": pl.Int64,  # the largest aggregate that is rated exactly
        # posted as
        "account_id": pl.String,
        "subscription_id": pl.String,
        "counted_for": pl.String,  # whose usage adds up in its aggregates
        "within": pl.String,  # hour | day: with each they begin anew; null: with each usage period
        "price_id": pl.String,
        "price_version": pl.String,
        "meter_id": pl.String,
        "quantity_scale": pl.Int8,
        "currency": pl.String,
        "tax_class": pl.String,
        "zone": pl.String,
        "billing_day": pl.Int8,
        "partner_id": pl.String,  # the account's partner; null without one
        "carrier_id": pl.String,  # whom we owe it: a cost; null: the customer owes it
        # recurring only
        "interval": pl.String,
        "licences": pl.Int32,
        "active_from": INSTANT,
    },
)
"""One row per subscription, price version and stretch of time in which it is charged, by a plan or a carrier."""

HOLDERS_AT_ONCE = 10_000
"""Subscriptions whose charges are made at a time."""


class Priced(NamedTuple):
    """What a price book and own terms come to."""

    prices: pl.DataFrame  # PRICES of both with LOWERED and `meter`
    filters: pl.DataFrame  # FILTERS with `filter_set`
    shares: pl.DataFrame  # SHARES


def compile_charges(book: Book, roster: Roster, priced: Priced, holders: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """CHARGES of usage prices, by (holder, meter, price_id, charged_from), and of recurring ones, without the meter.

    Args:
        holders: `subscription_id` and its number `holder`, from 0 on.

    Raises:
        BrokenPromise: A negotiated price has no terms.
    """
    numbered = roster.subscriptions.join(holders, on="subscription_id", maintain_order="left")
    accounts = roster.accounts.select("account_id", "zone", "billing_day", "partner_id").join(
        root_accounts(roster.accounts), on="account_id"
    )
    usage: list[pl.DataFrame] = []
    recurring: list[pl.DataFrame] = []
    for first in range(0, max(1, holders.height), HOLDERS_AT_ONCE):
        part = numbered.filter(pl.col("holder").is_between(first, first + HOLDERS_AT_ONCE, closed="left"))
        charges = _charges(book, roster, priced, part, accounts)
        is_usage = pl.col("charge") == "usage"
        limited = _within_units(charges.filter(is_usage), priced.shares)
        usage.append(CHARGES.select(limited.sort("holder", "meter", "price_id", "charged_from")))
        recurring.append(CHARGES.select(charges.filter(~is_usage).sort("holder", "price_id", "charged_from")))
    joined = _join_parts(usage)
    number = joined.select(pl.struct(AGGREGATE_KEY[:3]).rank("dense").cast(pl.UInt32).alias("aggregate"))
    return joined.with_columns(number), _join_parts(recurring)


def _charges(book: Book, roster: Roster, priced: Priced, part: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """CHARGES without a number of the aggregate, and `charge`, one row per stretch.

    Args:
        part: Rows of SUBSCRIPTIONS with `holder`.
        accounts: `account_id` with `root_id` and what a charge says of its account.
    """
    holdings = (
        part.with_row_index("holding")
        .join(accounts, on="account_id")
        .select(
            *("holding", "holder", "subscription_id", "account_id", "root_id", "licences", "active_from"),
            *("zone", "billing_day", "partner_id"),
        )
    )
    terms = priced.prices.select(
        "price_id",
        pl.col("price_version").alias("terms_version"),
        *("charge", "meter_id", "meter", "quantity_scale", "currency", "tax_class", "interval", "carrier_id"),
        *("price", "at_zero", "max_quanta", "counted_over", "within", "during"),
    )
    filter_sets = priced.filters.select("price_id", pl.col("price_version").alias("list_version"), "filter_set").unique()
    held = replace(roster, subscriptions=part.drop("holder"))
    found = (
        pl.concat([carve_stretches(book, held), carrier_stretches(book, held)])
        .join(holdings, on="holding")
        .join(terms, on=["price_id", "terms_version"], how="left")
        .join(filter_sets, on=["price_id", "list_version"], how="left")
    )
    lost = found.filter(pl.col("price").is_null())
    if lost.height:
        raise BrokenPromise(f"price {lost['price_id'][0]} version {lost['terms_version'][0]} is negotiated but has no terms")
    return found.with_columns(counted_for(), aggregate=pl.lit(None, pl.UInt32))


def _within_units(charges: pl.DataFrame, shares: pl.DataFrame) -> pl.DataFrame:
    """The charges, followed only so far that a partner's amount per unit stays exact too."""
    by_unit = shares.filter(pl.col("per_quantum") > 0)
    if by_unit.is_empty():
        return charges
    most = by_unit.group_by("partner_id", "price_id").agg(
        most=(pl.lit(PRICE_LIMIT - 1, pl.Int128) // pl.col("per_quantum").max()).clip(upper_bound=MAX_QUANTA).cast(pl.Int64)
    )
    told = charges.join(most, on=["partner_id", "price_id"], how="left", maintain_order="left")
    return told.with_columns(max_quanta=pl.min_horizontal("max_quanta", "most"))


def _join_parts(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all parts, which are used up: column by column, so that they are never in memory twice."""
    return pl.DataFrame([pl.concat([part.drop_in_place(name) for part in parts], rechunk=True) for name in CHARGES.names()])
