"""Revenue metrics, one row shape per table."""

from __future__ import annotations

import polars as pl

from schemas.billing import MONEY
from schemas.frames import AMOUNT, FrameSchema

FEES = FrameSchema(
    "FEES",
    {
        "subscription_id": pl.String,
        "account_id": pl.String,
        "price_id": pl.String,
        "currency": pl.String,
        "monthly_fee": AMOUNT,  # licences x fee after discount; a yearly fee / 12
        "fee_from": pl.Date,  # in force, half-open, in the account's zone
        "fee_to": pl.Date,  # null: open
    },
)
"""One row per subscription, recurring price and stretch of time in which its monthly value does not change."""

MOVEMENTS = FrameSchema(
    "MOVEMENTS",
    {
        "period": pl.String,
        "account_id": pl.String,
        "currency": pl.String,
        "movement": pl.String,  # new | expansion | contraction | churn | reactivation
        "mrr_before": MONEY,
        "mrr_after": MONEY,
        "mrr_change": MONEY,
    },
)
"""One row per account and currency whose MRR changed in the period."""

SUMMARY = FrameSchema(
    "SUMMARY",
    {
        "period": pl.String,
        "currency": pl.String,
        "mrr_start": MONEY,
        "mrr_new": MONEY,
        "mrr_expansion": MONEY,
        "mrr_contraction": MONEY,
        "mrr_churn": MONEY,
        "mrr_reactivation": MONEY,
        "mrr_end": MONEY,
        "paying_accounts": pl.Int64,
        "arpa": MONEY,  # mrr_end / paying_accounts, half-up to the minor unit
        "usage_revenue": MONEY,  # usage postings of the period, apart from MRR
        "share_cost": MONEY,  # what partners are due of the period's rows
    },
)
"""One row per currency. mrr_start + the five movements = mrr_end."""
