"""What limits work on: what each line of a customer costs so far, who has which limit when, and what it makes."""

from __future__ import annotations

import polars as pl

from schemas.frames import FrameSchema

COSTS = FrameSchema(
    "COSTS",
    {
        "account_id": pl.String,
        "subscription_id": pl.String,  # "" for what concerns the account as a whole
        "counted_for": pl.String,  # whose usage adds up in the aggregate; null for what limits added
        "price_id": pl.String,  # null for what is not of one price: a commitment
        "price_version": pl.String,
        "fee": pl.Boolean,  # recurring
        "month": pl.String,  # YYYY-MM in which the usage period begins
        "quanta": pl.Int64,  # where the aggregate stands, less what pools have covered
        "scaled": pl.Int128,  # money at scale 18, less what limits have taken off, with what they have added
    },
)
"""One row per subscription's part of an aggregate of usage and per fee, and one for what each limit added."""

GRANTS = FrameSchema(
    "GRANTS",
    {
        "limit": pl.UInt32,  # row of Limits.limits; null for floors
        "account_id": pl.String,
        "subscription_id": pl.String,  # "" when it is the account's
        "price_id": pl.String,  # floors: of which price; null otherwise
        "month": pl.String,
        "usage_period": pl.Date,
        "usage_period_end": pl.Date,
        "size": pl.Int128,  # how much in this usage period: money at scale 18, or quanta
    },
)
"""One row per limit, party that has it and usage period in which it holds."""

DUES = FrameSchema(
    "DUES",
    {
        "account_id": pl.String,
        "subscription_id": pl.String,
        "price_id": pl.String,  # the limit's id; '<price>/floor' and '<limit>/overage' for those
        "price_version": pl.String,  # a pool: the price it covers; otherwise since when the limit is in force
        "charge": pl.String,  # a LimitCharge
        "usage_period": pl.Date,
        "usage_period_end": pl.Date,
        "currency": pl.String,
        "tax_class": pl.String,
        "size": pl.Int128,  # what was committed, at most, at least, or in the pool: money at scale 18, or quanta
        "counted": pl.Int128,  # what that was held against: the money it covers; of a pool what it covered of this price
        "scaled": pl.Int128,  # what is due for it, scale 18
    },
)
"""One row per limit, party and usage period (and price covered by a pool) for which anything is due."""

PARTY = ["account_id", "subscription_id"]
