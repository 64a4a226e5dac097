"""Limits over rated usage as a bill run would see them, without a ledger on disk. No tests in here."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from pipelines.limit_costs import sum_costs
from rating.limits.apply import CHARGES, post_limits
from rating.limits.compile import Limits, compile_limits
from rating.recurring import post_fees
from schemas.ledger import POSTINGS
from schemas.period import Period
from tests.rating_world import Desk, Row, World

OCTOBER = Period(2026, 10)


class Till:
    """Rates events and closes months one after another; fees and limits are posted as the runs would."""

    def __init__(self, world: World, starts: Period = OCTOBER) -> None:
        self.world = world
        self.starts = starts
        self.desk = Desk(world.terms())
        self.posted = POSTINGS.empty()

    def limits(self) -> Limits:
        return compile_limits(self.world.book(), self.world.roster(), self.world.terms())

    def rate(self, *events: Row) -> Till:
        self.desk.rate(*events)
        return self

    def close(self, period: Period = OCTOBER) -> pl.DataFrame:
        """Rows that the run for this month posts, and keeps them."""
        fees = post_fees(period, self.world.terms(), self.posted.filter(charge="recurring"), self.starts)
        limits, made = self.limits(), self.posted.filter(pl.col("charge").is_in(CHARGES))
        rows = pl.concat([fees, post_limits(period, self.costs(fees, limits, period), limits, made, self.starts, fees.height)])
        self.posted = pl.concat([self.posted, rows])
        return rows

    def costs(self, fees: pl.DataFrame, limits: Limits, period: Period) -> pl.DataFrame:
        """COSTS up to this month by the query of the bill run."""
        seen = pl.concat([self.desk.postings, self.posted, fees])
        return sum_costs(seen, self.world.roster().accounts, limits, self.starts, period)

    def amounts(self, rows: pl.DataFrame | None = None) -> dict[tuple[str, str], Decimal]:
        """What limits posted so far (or these rows), by month and id; what came to nothing is left out."""
        made = (self.posted if rows is None else rows).filter(pl.col("charge").is_in(CHARGES))
        sums = made.group_by("usage_month", "price_id").agg(pl.col("amount").sum()).sort("usage_month", "price_id")
        return {(month, name): amount for month, name, amount in sums.rows() if amount}

    def total(self) -> Decimal:
        """What the customer owes in all: usage, fees and limits."""
        fees = self.posted.filter(role="revenue")["amount"].to_list()
        return self.desk.total() + sum(fees, Decimal(0))


def paid(till: Till, month: str) -> Decimal:
    """Usage and limits of one month, without fees."""
    rows = pl.concat([till.desk.postings, till.posted]).filter(role="revenue", usage_month=month)
    return sum(rows.filter(pl.col("charge") != "recurring")["amount"].to_list(), Decimal(0))
