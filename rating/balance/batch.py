"""Balances within the rating of a batch: two steps around counting and pricing, and nothing where no account pays in advance.

cover    before counting: units paid in advance stand for usage
settle   after pricing: money pays what is charged, orders are done, notices are written
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rating.balance.accounts import Balances
from rating.balance.orders import NOTHING_READ, is_order, read_orders
from rating.balance.origins import find_origins
from rating.balance.rows import post_changes
from rating.balance.settle import prepare_quotes, settle
from rating.balance.units import Covered, cover_units, reported
from rating.counters import Counters
from rating.ownership import Owners
from rating.rejects import REJECTED
from rating.retract import Retracted
from rating.seen import SeenEvents
from rating.terms import Terms

__all__ = ["Desk", "is_order"]


@dataclass(frozen=True)
class Settled:
    postings: pl.DataFrame  # POSTINGS, with the rows of balances
    rejected: pl.DataFrame  # REJECTED


class Desk:
    """What a batch has to do with balances."""

    def __init__(
        self,
        events: pl.DataFrame,
        ordered: pl.Series,
        charged: pl.DataFrame,
        back: Retracted,
        terms: Terms,
        balances: Balances,
        seen: SeenEvents,
        owners: Owners | None = None,
    ) -> None:
        """
        Args:
            events: EVENTS with `event`.
            ordered: Which of them are about balances.
            charged: CHARGED.
            owners: Who counts which account; None: there is nobody else.
        """
        self._terms, self._balances, self._back = terms, balances, back
        self._refused: set[int] = set()
        read = read_orders(events.filter(ordered), terms, seen, owners) if ordered.any() else NOTHING_READ
        self.duplicates = read.duplicates
        self.rejected = read.rejected
        self._orders = read.orders
        self._origins = find_origins(events, back.rows, back.targets, back.posted)
        rows = (charged["charge"], back.rows["charge"])
        paying = terms.has_prepaid and any(terms.prepaid.gather(charge).any() for charge in rows)
        self.idle = not (self._orders or self._origins.events or paying)
        self._covered = Covered(charged, back.rows, [], REJECTED.empty(), {})

    def cover(self, charged: pl.DataFrame) -> Covered:
        """CHARGED and TAKEN less the units that cover them."""
        if not self.idle:
            self._covered = cover_units(
                charged,
                self._back.rows,
                self._orders,
                self._back.posted,
                self._terms,
                self._balances,
                refused=self._refused,
            )
        return self._covered

    def refuse(self, rejected: pl.DataFrame) -> bool:
        """Take note of events (REJECTED) that are not counted; whether units had covered any of them."""
        wrongly = set(rejected["event"]) & self._covered.by_event.keys()
        self._refused |= wrongly
        return bool(wrongly)

    def as_reported(self, priced: pl.DataFrame) -> pl.DataFrame:
        """PRICED with the quantities that events reported."""
        return reported(priced, self._covered, self._terms)

    def settle(self, events: pl.DataFrame, priced: pl.DataFrame, postings: pl.DataFrame, counters: Counters) -> Settled:
        """POSTINGS with what became of the balances.

        Args:
            events: EVENTS with `event`; a retraction at the time of what it takes back.
            priced: PRICED.
            counters: As they stood before the batch.
        """
        if self.idle:
            return Settled(postings, self.rejected)
        orders = self._covered.orders
        quotes = prepare_quotes(orders, self._terms, self._balances, counters)
        sheet, refused = settle(events, priced, orders, self._covered, self._origins, self._terms, self._balances, quotes)
        rejected = pl.concat([self.rejected, self._covered.rejected, refused])
        return Settled(post_changes(sheet, events, postings, self._terms), rejected)
