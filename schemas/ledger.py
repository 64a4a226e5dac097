"""The ledger's row. docs/LEDGER.md explains each column and the promises."""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from schemas.frames import AMOUNT, INSTANT, FrameSchema

POSTINGS = FrameSchema(
    "POSTINGS",
    {
        # position: unique together
        "stream": pl.String,  # 'kafka:usage@1' | 'file:<digest>' | 'run:2026-10' | 'rerate:<digest>'
        "stream_partition": pl.Int32,
        "stream_offset": pl.Int64,
        "stream_row": pl.Int32,  # a message may hold many events, an event gives one row per price and role
        # the event; null for rows made by a bill run
        "event_source": pl.String,
        "event_id": pl.String,
        "occurred_at": INSTANT,
        "dimensions": pl.String,
        # who
        "account_id": pl.String,
        "subscription_id": pl.String,  # "" for what a limit of the whole account made
        # whose usage adds up in the aggregate: subscription_id | account:<id> | group:<root account>, then /<day or hour>
        "counted_for": pl.String,
        "role": pl.String,  # a Role
        "partner_id": pl.String,  # the other party of a share or cost; null for revenue
        # what for
        "charge": pl.String,  # usage | recurring | a LimitCharge
        "meter_id": pl.String,  # null for recurring
        "price_id": pl.String,
        "price_version": pl.String,
        "tier": pl.Int32,  # the tier the aggregate is in after this row
        "windows": pl.String,  # the window of the price's calendar, joined by commas when several; null without a calendar
        "book_version": pl.Int32,
        "roster_version": pl.Int32,
        # when: the half-open usage period in the account's zone; usage_month (YYYY-MM of its start) partitions the table
        "usage_period": pl.Date,
        "usage_period_end": pl.Date,
        "usage_month": pl.String,
        # how much: whole quanta; units = quanta / 10^quantity_scale
        "quantity_quanta": pl.Int64,  # what this row adds
        "reported_quanta": pl.Int64,  # what the event reported, where the row got only a part of it; null: quantity_quanta
        "value": pl.String,  # what a meter of aggregation unique counts, or the money that came with the event; null for others
        "before_quanta": pl.Int64,  # the aggregate before this row
        "after_quanta": pl.Int64,  # the aggregate after this row
        "quantity_scale": pl.Int8,
        "currency": pl.String,
        "amount": AMOUNT,  # f(after) - f(before)
        "tax_class": pl.String,
        "corrects": pl.String,  # position of the row that this one takes back, as stream/partition/offset/row; null otherwise
    },
)
"""One row per amount: event x price x role, or one recurring fee. Append-only.

The aggregate is identified by (counted_for, price_id, price_version, usage_period); per role and partner the amounts of
one aggregate add up to f(sum of its steps from before_quanta to after_quanta), rows that take others back included.
"""

AGGREGATE_KEY = ["counted_for", "price_id", "price_version", "usage_period"]
"""What a running aggregate is counted by."""

POSITION_KEY = ["stream", "stream_partition", "stream_offset", "stream_row"]
"""What makes a row of POSTINGS unique, and its order."""


def reported_quanta() -> pl.Expr:
    """What the event of a row reported, `quantity_quanta`, however it was split between prices."""
    return pl.coalesce("reported_quanta", "quantity_quanta").alias("quantity_quanta")


POINT_COLUMNS = [
    *POSITION_KEY,
    *AGGREGATE_KEY,
    *("meter_id", "event_source", "event_id", "occurred_at", "quantity_quanta", "value", "corrects"),
]
"""What a usage row says of its event: all that an aggregate needs that looks at its events and not only at their total."""


class Role(StrEnum):
    """Whose money a row is."""

    REVENUE = "revenue"  # the customer owes us
    SHARE = "share"  # we owe the partner
    COST = "cost"  # we owe the carrier
    BALANCE = "balance"  # what the customer has paid in advance: top-ups, and what usage took of it (schemas/balance.py)
    HOLD = "hold"  # what a running session keeps reserved of it
    NOTICE = "notice"  # what was told about it; no money


def moves_aggregate() -> pl.Expr:
    """Rows of POSTINGS that move an aggregate: revenue and cost. A share repeats the quantities of the row it is taken of."""
    return pl.col("role").is_in([Role.REVENUE.value, Role.COST.value])


BALANCE_ROLES = [Role.BALANCE.value, Role.HOLD.value, Role.NOTICE.value]
"""Roles of the rows that a prepaid balance is made of."""

MOVE_COLUMNS = [
    *("account_id", "role", "charge", "price_id", "meter_id", "quantity_scale", "quantity_quanta", "amount", "dimensions"),
    *("occurred_at", "after_quanta"),
]
"""What such a row says of its account's balance."""

SENT_NOTICES = FrameSchema(
    "SENT_NOTICES",
    {
        "stream": pl.String,  # the position of the notice's row in POSTINGS
        "stream_partition": pl.Int32,
        "stream_offset": pl.Int64,
        "stream_row": pl.Int32,
        "account_id": pl.String,
        "type": pl.String,  # CloudEvents type
    },
)
"""One row per notice that the brokers have taken; one that was sent twice may be here once."""
