"""Which buckets paid for an event that is taken back: what comes back goes where it came from."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from rating.balance.money import Parts
from schemas.ledger import Role


class Origins:
    """Which buckets paid for the events that this batch takes back."""

    def __init__(
        self, here: dict[int, int], paid: dict[tuple[int, str], Parts], charged: Collection[tuple[int, str]] = ()
    ) -> None:
        """
        Args:
            here: Event -> the event of this batch that it takes back.
            paid: Event and fee item -> what paid for it, where an earlier event is taken back.
            charged: Event and fee item that cost something, paid from a balance or not, likewise.
        """
        self._here, self._paid, self._charged = here, paid, frozenset(charged)

    @property
    def events(self) -> list[int]:
        """Those that take back events of earlier batches that were paid from a balance."""
        return sorted({event for event, _ in self._paid})

    def of(self, event: int, price_id: str, drawn: dict[tuple[int, str], Parts]) -> Parts | None:
        """What paid for the event that this one takes back; None: it was not paid from a balance."""
        if event in self._here:
            return [part for part in drawn.get((self._here[event], price_id), []) if part[1] > 0]
        if (event, price_id) in self._charged and (event, price_id) not in self._paid:
            return None
        return self._paid.get((event, price_id), [])


def find_origins(events: pl.DataFrame, taken: pl.DataFrame, targets: pl.DataFrame, posted: pl.DataFrame) -> Origins:
    """The origins of retractions, from what `rating/retract.py` found.

    Args:
        taken: TAKEN.
        targets: `event_source`, `event_id`, `retracts` of the retractions.
        posted: POSTINGS of earlier events that are taken back, of all roles.
    """
    here = dict(taken.filter(pl.col("of").is_not_null()).select("event", "of").iter_rows())
    if targets.is_empty() or posted.is_empty():
        return Origins(here, {})
    named = events.select("event", "event_source", "event_id").join(targets, on=["event_source", "event_id"])
    rows = posted.with_columns(pl.col("event_id").alias("retracts")).join(
        named.select("event", "event_source", "retracts"), on=["event_source", "retracts"]
    )
    charged = rows.filter((pl.col("role") == Role.REVENUE.value) & (pl.col("amount") != 0))
    return Origins(here, paid_parts(rows), set(charged.select("event", "price_id").iter_rows()))


def paid_parts(rows: pl.DataFrame) -> dict[tuple[int, str], Parts]:
    """`event` and fee item -> the buckets that paid, in order.

    Args:
        rows: POSTINGS with `event`.
    """
    paid: dict[tuple[int, str], Parts] = {}
    money = rows.filter((pl.col("role") == Role.BALANCE.value) & (pl.col("quantity_quanta") == 0)).sort("after_quanta")
    for event, value, bucket, scaled in money.select("event", "value", "price_id", pl.col("amount").to_physical()).iter_rows():
        paid.setdefault((event, value), []).append((bucket, -scaled))
    return paid
