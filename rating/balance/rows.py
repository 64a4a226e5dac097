"""Rows of the ledger for what happened to balances."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import polars as pl

from rating.balance.accounts import Moved
from rating.periods import local_day, month_name, period_end, period_start
from rating.terms import Terms
from schemas.frames import FrameSchema
from schemas.ledger import POSITION_KEY, POSTINGS
from schemas.money import to_amount

CHANGES = FrameSchema(
    "CHANGES",
    {
        "event": pl.UInt32,
        "account_id": pl.String,
        "currency": pl.String,
        "after_quanta": pl.Int64,  # number of the row within its account
        "role": pl.String,
        "charge": pl.String,
        "price_id": pl.String,
        "meter_id": pl.String,
        "quantity_scale": pl.Int8,
        "quantity_quanta": pl.Int64,
        "scaled": pl.Int128,
        "dimensions": pl.String,
        "counted_for": pl.String,
        "subscription_id": pl.String,
        "usage_period": pl.Date,  # null: that of the event's time
        "value": pl.String,
        "price_version": pl.String,
    },
)
"""One row per change, in the order in which it happened."""

_MESSAGE = POSITION_KEY[:3]


class Sheet:
    """Collects the changes of a batch."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        event: int,
        account_id: str,
        currency: str,
        number: int,
        moved: Moved,
        *,
        counted_for: str | None = None,
        subscription_id: str | None = None,
        usage_period: date | None = None,
        value: str | None = None,
        price_version: str | None = None,
    ) -> None:
        """Write down one change."""
        facts = json.dumps(moved.facts, ensure_ascii=False, sort_keys=True) if moved.facts else ""
        what = (
            str(moved.role),
            str(moved.charge),
            moved.name,
            moved.meter_id,
            moved.quantity_scale,
            moved.quanta,
            moved.scaled,
        )
        self._rows.append(
            (
                event,
                account_id,
                currency,
                number,
                *what,
                facts,
                counted_for,
                subscription_id,
                usage_period,
                value,
                price_version,
            )
        )

    def changes(self) -> pl.DataFrame:
        """CHANGES."""
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(CHANGES.columns)
        return pl.DataFrame(dict(zip(CHANGES.names(), columns, strict=True)), schema=dict(CHANGES.columns))


def post_changes(sheet: Sheet, events: pl.DataFrame, postings: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """POSTINGS with the rows of the sheet, ordered by position; in each message they follow the rows that are there.

    Args:
        events: EVENTS with `event`.
        postings: POSTINGS of the batch so far.
    """
    if not len(sheet):
        return postings
    changes = sheet.changes()
    origin = events.select(*_MESSAGE, "event_source", "event_id", "occurred_at")[changes["event"]]
    rows = changes.hstack(origin).join(
        terms.accounts.select("account_id", "zone", "billing_day"), on="account_id", how="left", maintain_order="left"
    )
    there = postings.join(rows.select(_MESSAGE).unique(), on=_MESSAGE, how="semi").group_by(_MESSAGE).agg(there=pl.len())
    placed = rows.join(there, on=_MESSAGE, how="left", maintain_order="left").with_columns(
        stream_row=(pl.int_range(pl.len()).over(_MESSAGE) + pl.col("there").fill_null(0)).cast(pl.Int32)
    )
    made = POSTINGS.select(_completed(_with_period(placed), terms))
    return pl.concat([postings, made]).sort(POSITION_KEY)


def _with_period(rows: pl.DataFrame) -> pl.DataFrame:
    day = local_day(rows, "occurred_at").alias("day")
    own = period_start(pl.col("day"), pl.col("billing_day"))
    start = pl.col("usage_period")
    return (
        rows.with_columns(day)
        .with_columns(usage_period=pl.coalesce("usage_period", own))
        .with_columns(usage_period_end=period_end(start, start.dt.day()), usage_month=month_name(start))
    )


def _completed(rows: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """With the columns that are the same for all of them."""
    return rows.with_columns(
        to_amount(pl.col("scaled")).alias("amount"),
        before_quanta=pl.col("after_quanta") - 1,
        tier=pl.lit(None, pl.Int32),
        partner_id=pl.lit(None, pl.String),
        windows=pl.lit(None, pl.String),
        reported_quanta=pl.lit(None, pl.Int64),
        tax_class=pl.lit(None, pl.String),
        corrects=pl.lit(None, pl.String),
        book_version=pl.lit(terms.book_version, pl.Int32),
        roster_version=pl.lit(terms.roster_version, pl.Int32),
    )
