"""What a bill run makes of the ledger: lines, invoices, outcomes, the run itself, and partner statements."""

from __future__ import annotations

import polars as pl

from schemas.frames import AMOUNT, FrameSchema

MONEY = pl.Decimal(38, 4)
"""Money rounded to the currency's minor unit; 4 places hold every ISO 4217 currency."""

LINES = FrameSchema(
    "LINES",
    {
        "period": pl.String,  # the period the run closes, YYYY-MM
        "account_id": pl.String,
        "line": pl.Int32,  # 1, 2, 3 ... within the invoice
        "subscription_id": pl.String,  # "" for what a limit of the whole account made
        "charge": pl.String,  # usage | recurring | a LimitCharge
        "price_id": pl.String,
        "price_version": pl.String,
        "meter_id": pl.String,
        "unit": pl.String,  # of the quantity: the meter's; licence-day for fees; tier (its number) for several meters
        "name_en": pl.String,
        "name_zh": pl.String,
        "usage_period": pl.Date,  # what the line pays for: half-open
        "usage_period_end": pl.Date,
        "late": pl.Boolean,  # usage of a period that an earlier run has closed
        "events": pl.Int64,  # rows of the ledger behind the line
        "quantity": AMOUNT,  # units added by those rows
        "exact_amount": AMOUNT,  # sum of those rows
        "net_amount": MONEY,  # exact_amount rounded half-up to the minor unit
        "tax_class": pl.String,
        "tax_rate": AMOUNT,
        "tax_amount": MONEY,  # this line's part of the invoice's tax of its class, by largest remainder
        "currency": pl.String,
    },
)
"""One row per subscription, price version and usage period that a run bills."""

INVOICES = FrameSchema(
    "INVOICES",
    {
        "period": pl.String,
        "invoice_no": pl.String,  # null in a draft; gapless in a series once final
        "account_id": pl.String,
        "account_name": pl.String,
        "currency": pl.String,
        "issue_date": pl.Date,
        "due_date": pl.Date,
        "lines": pl.Int32,
        "net_amount": MONEY,
        "tax_amount": MONEY,
        "total_amount": MONEY,
        "paid_amount": MONEY,  # of the total, what the account's balance has paid; below zero: given back to the balance
        "due_amount": MONEY,  # total_amount - paid_amount: to be paid; below zero: in the customer's favour
    },
)
"""One row per invoice: one account, one currency, one run."""

OUTCOMES = FrameSchema(
    "OUTCOMES",
    {
        "period": pl.String,
        "account_id": pl.String,
        "outcome": pl.String,  # invoiced | nothing_due | failed
        "reason": pl.String,  # null unless failed; rows of a failed account stay unbilled for a later run
        "currency": pl.String,
        "total_amount": MONEY,  # null when failed, 0 when nothing is due
        "due_amount": MONEY,  # the total without what the account's balance has paid; null when failed
        "taken_amount": AMOUNT,  # what the usage of this run took from the account's balance, exact; null when failed
    },
)
"""One row per account of the roster and per account with unbilled rows: what the run did with it."""

POSITIONS = FrameSchema(
    "POSITIONS",
    {"stream": pl.String, "stream_partition": pl.Int32, "through_offset": pl.Int64},
)
"""One row per source: rows at or below `through_offset` were in the snapshot a run read."""

RUNS = FrameSchema(
    "RUNS",
    {
        "period": pl.String,
        "ledger_version": pl.Int64,  # Delta version of postings the run read
        "stream": pl.String,
        "stream_partition": pl.Int32,
        "through_offset": pl.Int64,
        "book_version": pl.Int32,
        "roster_version": pl.Int32,
    },
)
"""One row per finalised run and source: the position vector up to which the run billed. The run is final when it is here."""

STATEMENT_LINES = FrameSchema(
    "STATEMENT_LINES",
    {
        "period": pl.String,
        "partner_id": pl.String,
        "line": pl.Int32,
        "account_id": pl.String,
        "price_id": pl.String,
        "usage_period": pl.Date,
        "late": pl.Boolean,
        "events": pl.Int64,
        "revenue_amount": AMOUNT,  # the customer revenue the share is of; by a carrier's price the cost, below zero
        "exact_amount": AMOUNT,  # what we owe the partner, before rounding
        "share_amount": MONEY,  # rounded half-up to the minor unit
        "currency": pl.String,
    },
)
"""One row per partner, account, price and usage period."""

STATEMENTS = FrameSchema(
    "STATEMENTS",
    {
        "period": pl.String,
        "partner_id": pl.String,
        "partner_name": pl.String,
        "currency": pl.String,
        "lines": pl.Int32,
        "revenue_amount": AMOUNT,
        "share_amount": MONEY,
    },
)
"""One row per partner and currency."""
