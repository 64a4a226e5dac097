"""Limits of a published book and roster, ready to apply: floors of price versions, and whose the others are on which days."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rating.limits.frames import GRANTS, PARTY
from rating.limits.spans import add_sizes, usage_periods
from rating.periods import local_day
from rating.stretches import FAR
from rating.terms import Terms
from schemas.book import PRICES, Book
from schemas.errors import BrokenPromise
from schemas.frames import AMOUNT, INSTANT
from schemas.limits import LIMITS
from schemas.period import Period
from schemas.roster import Roster

ACCOUNT_WIDE = ""
"""The subscription of a row that concerns the account as a whole."""


@dataclass(frozen=True)
class Limits:
    """What looks at whole usage periods, beside the Terms it is of."""

    terms: Terms
    limits: pl.DataFrame  # LIMITS with `limit` (row number), `whole` (Int128: money at scale 18, or quanta) and `version`
    covers: pl.DataFrame  # limit, price_id, place: what a limit covers, in order; limits that cover everything are not here
    spans: pl.DataFrame  # limit, account_id, subscription_id, from_day, to_day, billing_day, licences
    floors: pl.DataFrame  # subscription_id, account_id, price_id, from_day, to_day, billing_day, whole, prorated
    prices: pl.DataFrame  # price_id, currency, tax_class

    @property
    def parties(self) -> pl.DataFrame:
        """`account_id` of every account that has any, in order."""
        return pl.concat([self.spans.select("account_id"), self.floors.select("account_id")]).unique().sort("account_id")

    def of_charges(self, *kinds: str) -> pl.DataFrame:
        """`limits` of these kinds."""
        return self.limits.filter(pl.col("kind").is_in(list(kinds)))


def compile_limits(book: Book, roster: Roster, terms: Terms) -> Limits:
    """Compile the limits of a published book and roster.

    Raises:
        BrokenPromise: The catalog let a limit through that cannot be computed: a pool of units without a meter.
    """
    listed = pl.concat([LIMITS.select(book.limits), LIMITS.select(roster.limits)]).with_row_index("limit")
    prices = pl.concat([PRICES.select(book.prices), PRICES.select(roster.prices)])
    covers = (
        listed.select("limit", pl.col("covers").alias("price_id"))
        .drop_nulls("price_id")
        .with_columns(place=pl.int_ranges(0, pl.col("price_id").list.len()))
        .explode("price_id", "place")
    )
    limits = _with_sizes(listed, covers, prices, terms)
    return Limits(
        terms=terms,
        limits=limits,
        covers=covers,
        spans=_spans(limits, roster),
        floors=_floors(prices, terms),
        prices=prices.sort("valid_from").unique("price_id", keep="last").select("price_id", "currency", "tax_class"),
    )


def grant_limits(limits: Limits, first: Period, last: Period) -> pl.DataFrame:
    """GRANTS of commitments, caps and pools in the usage periods that start in these months."""
    details = limits.limits.select("limit", "prorated", "per_licence", "over", one="whole")
    placed = usage_periods(limits.spans, first, last).join(details, on="limit")
    licences = pl.when(pl.col("per_licence")).then(pl.col("licences")).otherwise(1).cast(pl.Int128)
    # a contract's amount is of the whole contract, in whatever period one looks at it
    placed = placed.with_columns(whole=pl.col("one") * licences, prorated=pl.col("prorated") & (pl.col("over") == "period"))
    sized = add_sizes(placed, ["limit", *PARTY, "month"])
    return GRANTS.select(sized.with_columns(price_id=pl.lit(None, pl.String)))


def grant_floors(limits: Limits, first: Period, last: Period) -> pl.DataFrame:
    """GRANTS of the floors of prices: one row per subscription and price, whatever versions were in force."""
    sized = add_sizes(usage_periods(limits.floors, first, last), [*PARTY, "price_id", "month"])
    return GRANTS.select(sized.with_columns(limit=pl.lit(None, pl.UInt32)))


def _with_sizes(limits: pl.DataFrame, covers: pl.DataFrame, prices: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The limits with `version` and `whole`: money at scale 18, or quanta of the meters of the prices that a pool covers."""
    scales = (
        prices.select("price_id", "meter_id").unique().join(terms.meters.select("meter_id", "quantity_scale"), on="meter_id")
    )
    scale_of = covers.join(scales, on="price_id").group_by("limit").agg(pl.col("quantity_scale").max().cast(pl.Int64))
    told = limits.join(scale_of, on="limit", how="left")
    if told.filter(pl.col("units").is_not_null() & pl.col("quantity_scale").is_null()).height:
        raise BrokenPromise("a pool of units covers no price of a meter")
    tens = pl.Series([10 ** (18 - scale) for scale in range(10)], dtype=pl.Int128)
    unit = pl.lit(tens).gather(pl.col("quantity_scale").fill_null(0))
    units = pl.col("units").to_physical() // unit
    up_to = pl.col("roll_over_up_to").to_physical()
    return told.with_columns(
        whole=pl.when(pl.col("units").is_null()).then(pl.col("amount").to_physical()).otherwise(units),
        kept=pl.when(pl.col("units").is_null()).then(up_to).otherwise(up_to // unit),
        version=pl.col("valid_from").dt.strftime("%Y-%m-%d"),
    )


def _spans(limits: pl.DataFrame, roster: Roster) -> pl.DataFrame:
    """Who has which limit on which local days."""
    holdings = roster.subscriptions.select(
        "subscription_id", "account_id", "plan_id", "licences", "active_from", pl.col("active_to").fill_null(FAR)
    )
    lives = holdings.group_by("subscription_id", "account_id").agg(
        pl.col("active_from").min(), pl.col("active_to").max(), licences=pl.lit(1, pl.Int32)
    )
    whole = roster.accounts.select(
        "account_id",
        subscription_id=pl.lit(ACCOUNT_WIDE),
        licences=pl.lit(1, pl.Int32),
        active_from=pl.lit(None, INSTANT),
        active_to=pl.lit(None, INSTANT),
    )
    when = limits.select("limit", "plan_id", "account_id", "subscription_id", "valid_from", pl.col("valid_to").fill_null(FAR))
    columns = ["limit", *PARTY, "licences", "active_from", "active_to", "valid_from", "valid_to"]
    of_plan = when.drop(PARTY).join(holdings, on="plan_id").select(columns)
    of_one = when.filter(pl.col("subscription_id").is_not_null()).drop("account_id").join(lives, on="subscription_id")
    of_all = when.filter(pl.col("account_id").is_not_null()).drop("subscription_id").join(whole, on="account_id")
    spans = pl.concat([of_plan, of_one.select(columns), of_all.select(columns)])
    placed = spans.join(roster.accounts.select("account_id", "zone", "billing_day"), on="account_id").with_columns(
        starts=pl.max_horizontal("active_from", "valid_from"), ends=pl.min_horizontal("active_to", "valid_to")
    )
    return placed.select(
        "limit",
        *PARTY,
        "licences",
        "billing_day",
        local_day(placed, "starts").alias("from_day"),
        local_day(placed, "ends").alias("to_day"),
    )


def _floors(prices: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The stretches in which a price with a floor is in force for a subscription."""
    names = terms.prices.select("price", "price_id", terms_version="price_version")
    floored = (
        prices.filter(pl.col("floor").is_not_null())
        .select("price_id", pl.col("price_version").alias("terms_version"), "floor", "floor_prorated")
        .join(names, on=["price_id", "terms_version"])
        .select("price", "floor", "floor_prorated")
    )
    charges = terms.usage.join(floored, on="price")
    spans = charges.select(
        *PARTY,
        "price_id",
        "billing_day",
        local_day(charges, "charged_from").alias("from_day"),
        local_day(charges, "charged_to").alias("to_day"),
        pl.col("floor").cast(AMOUNT).to_physical().alias("whole"),
        pl.col("floor_prorated").alias("prorated"),
    )
    return spans.unique(maintain_order=True)  # a price of several meters stands there once for each
