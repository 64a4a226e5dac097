"""Units paid in advance cover usage first: what they cover is not counted by any price, and so costs nothing.

An event of 100 seconds of which a bucket covers 40 moves its aggregates by 60. Its row still says what it reported, 100; the
other 40 are a row of the bucket. This comes before counting, because counting needs to know what is left to be charged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

import polars as pl

from rating.balance.accounts import Account, Balances, Moved
from rating.balance.orders import Order
from rating.rejects import REJECTED
from rating.terms import Terms
from schemas.balance import AdjustData, Move
from schemas.ledger import Role
from schemas.usage import RejectReason

_MORE = {"event": pl.UInt32, "meter": pl.UInt32, "more": pl.Int64}


class Cover(NamedTuple):
    """What one event takes of a bucket of units, or gives back to it."""

    account_id: str
    bucket: str
    meter_id: str
    quantity_scale: int
    quanta: int  # below 0: taken


class Covered(NamedTuple):
    charged: pl.DataFrame  # CHARGED, each quantity less what is covered
    taken: pl.DataFrame  # TAKEN, likewise
    orders: list[Order]  # those that can be done
    rejected: pl.DataFrame  # REJECTED
    by_event: dict[int, list[Cover]]


class _Use(NamedTuple):
    """Usage of one meter by one event, or its retraction."""

    event: int
    meter: int
    account_id: str
    quantity_quanta: int
    occurred_at: datetime
    target: (
        int | tuple[str, str] | None
    )  # of a retraction: the event of this batch, or (source, id) of an earlier one; None: it is usage


def cover_units(
    charged: pl.DataFrame,
    taken: pl.DataFrame,
    orders: list[Order],
    posted: pl.DataFrame,
    terms: Terms,
    balances: Balances,
    *,
    refused: Collection[int] = (),
) -> Covered:
    """Let buckets of units cover usage, in order of arrival.

    Args:
        charged: CHARGED.
        taken: TAKEN: what retractions take back.
        posted: POSTINGS of earlier events that are taken back, of all roles.
        refused: Events that will not be counted.
    """
    pass_ = _Pass(terms, balances, _posted_covers(posted))
    concerned = balances.with_units() | {order.account_id for order in orders if order.meter_id} | pass_.accounts
    if not concerned and not orders:
        return Covered(charged, taken, orders, REJECTED.empty(), {})
    items: list[_Use | Order] = [*_uses(charged, concerned, terms), *_uses(taken, concerned, terms), *orders]
    for item in sorted(items, key=lambda item: item.event):
        if isinstance(item, Order):
            pass_.follow(item)
        elif item.event not in refused:
            pass_.use(item)
    return Covered(
        _less(charged, pass_.covered, terms),
        _less(taken, pass_.covered, terms),
        [order for order in orders if order.event not in pass_.wrong],
        REJECTED.build(list(pass_.wrong.values())),
        pass_.by_event,
    )


def reported(rows: pl.DataFrame, covered: Covered, terms: Terms) -> pl.DataFrame:
    """PRICED with the quantities that events reported: what was covered added again, of a retraction with its sign."""
    if not covered.by_event:
        return rows
    meters = dict(terms.meters.select("meter_id", "meter").iter_rows())
    moved = [(event, meters[c.meter_id], -c.quanta) for event, covers in covered.by_event.items() for c in covers]
    parts = pl.DataFrame(moved, schema=_MORE, orient="row")
    return add_covered(rows, parts.group_by("event", "meter").agg(pl.col("more").sum()), terms)


def add_covered(rows: pl.DataFrame, more: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The rows with `more` quanta, given by event and meter. What a carrier charges us for is counted whole anyway.

    Args:
        rows: `event`, `charge` and `quantity_quanta`, such as PRICED.
    """
    if more.is_empty():
        return rows
    charged = terms.usage.select("meter", sold=pl.col("carrier_id").is_null())[rows["charge"]]
    told = rows.select("event", "quantity_quanta").hstack(charged)
    told = told.join(more, on=["event", "meter"], how="left", maintain_order="left")
    moved = pl.col("quantity_quanta") + pl.when("sold").then(pl.col("more").fill_null(0)).otherwise(0)
    return rows.with_columns(told.select(moved)["quantity_quanta"])


def less_covered(rows: pl.DataFrame, covered: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """The rows without what units cover; as `add_covered`."""
    return add_covered(rows, covered.with_columns(more=-pl.col("more")), terms)


class _Pass:
    """One walk over the batch, on copies of the accounts."""

    def __init__(self, terms: Terms, balances: Balances, posted: dict[tuple[str, str, str], list[Cover]]) -> None:
        self._balances = balances
        self._posted = posted
        self._accounts: dict[str, Account] = {}
        self._meters = dict(enumerate(terms.meters.select("meter_id", "quantity_scale").rows()))
        self.accounts = {cover.account_id for covers in posted.values() for cover in covers}
        self.covered: dict[tuple[int, int], int] = {}  # (event, meter) -> quanta
        self.by_event: dict[int, list[Cover]] = {}
        self.wrong: dict[int, dict[str, object]] = {}

    def follow(self, order: Order) -> None:
        data = order.data
        if not isinstance(data, AdjustData):
            return
        account = self._account(order.account_id)
        bucket = account.buckets.get(data.bucket)
        if bucket is not None and bucket.meter_id != order.meter_id:
            holds = f"units of meter '{bucket.meter_id}'" if bucket.meter_id else "money"
            sentence = f"`data.bucket`: bucket '{data.bucket}' of account '{order.account_id}' holds {holds}; name another."
            self.wrong[order.event] = {
                "event": order.event,
                "reason": RejectReason.BAD_BALANCE.value,
                "detail": sentence,
            }
            return
        account.apply(order_move(order))

    def use(self, use: _Use) -> None:
        meter_id, scale = self._meters[use.meter]
        covers = self._give_back(use, meter_id) if use.target is not None else self._draw(use, meter_id, scale)
        if not covers:
            return
        account = self._account(use.account_id)
        for cover in covers:
            facts: dict[str, object] = {}
            account.apply(
                Moved(Role.BALANCE, Move.DEDUCT, cover.bucket, meter_id, scale, cover.quanta, 0, facts, use.occurred_at)
            )
        self.by_event.setdefault(use.event, []).extend(covers)
        self.covered[use.event, use.meter] = abs(sum(cover.quanta for cover in covers))

    def _draw(self, use: _Use, meter_id: str, scale: int) -> list[Cover]:
        left, covers = use.quantity_quanta, []
        for bucket in self._account(use.account_id).paying(meter_id, use.occurred_at):
            part = min(left, max(bucket.left, 0))
            if part and bucket.quantity_scale == scale:
                covers.append(Cover(use.account_id, bucket.name, meter_id, scale, -part))
                left -= part
        return covers

    def _give_back(self, use: _Use, meter_id: str) -> list[Cover]:
        target = use.target
        if isinstance(target, tuple):
            before = self._posted.get((*target, meter_id), [])
        else:
            before = self.by_event.get(target, []) if target is not None else []
        return [cover._replace(quanta=-cover.quanta) for cover in before if cover.meter_id == meter_id]

    def _account(self, account_id: str) -> Account:
        if account_id not in self._accounts:
            self._accounts[account_id] = self._balances.account(account_id)
        return self._accounts[account_id]


def order_move(order: Order) -> Moved:
    """What a top-up or an adjustment does to its bucket."""
    data = order.data
    assert isinstance(data, AdjustData)
    facts = data.model_dump(mode="json", exclude_none=True, include={"priority", "valid_from", "valid_to", "note"})
    charge = Move.ADJUST if type(data) is AdjustData else Move.TOPUP
    scaled = 0 if data.amount is None else int(data.amount.scaleb(18))
    return Moved(
        Role.BALANCE, charge, data.bucket, order.meter_id, order.quantity_scale, order.quanta, scaled, facts, order.occurred_at
    )


def _uses(rows: pl.DataFrame, concerned: Iterable[str], terms: Terms) -> list[_Use]:
    """The usage of prepaid accounts that have units, and all retractions of it; one per event and meter.

    Without the events that are split between prices: no bucket says which part of them it is for.
    """
    owner = terms.usage["account_id"].gather(rows["charge"])
    taken = "of" in rows.columns
    paying = terms.usage["carrier_id"].is_null() if taken else terms.prepaid
    mine = owner.is_in(list(concerned)) & paying.gather(rows["charge"])
    parts = rows.filter(pl.col("reported_quanta").is_not_null()).select("event", "meter").unique()
    whole = rows.with_columns(owner).filter(mine).join(parts, on=["event", "meter"], how="anti", maintain_order="left")
    once = whole.unique(["event", "meter"], keep="first", maintain_order=True)
    uses = []
    for row in once.iter_rows(named=True):
        target: int | tuple[str, str] | None = None
        if taken:
            target = row["of"] if row["of"] is not None else (row["event_source"], row["event_id"])
        uses.append(_Use(row["event"], row["meter"], row["account_id"], row["quantity_quanta"], row["occurred_at"], target))
    return uses


def _posted_covers(posted: pl.DataFrame) -> dict[tuple[str, str, str], list[Cover]]:
    """(event source, event id, meter) -> what the ledger says was covered of it."""
    found: dict[tuple[str, str, str], list[Cover]] = {}
    rows = posted.filter((pl.col("role") == Role.BALANCE.value) & (pl.col("quantity_quanta") != 0))
    columns = ["event_source", "event_id", "meter_id", "account_id", "price_id", "quantity_scale", "quantity_quanta"]
    for source, event_id, meter_id, account_id, bucket, scale, quanta in rows.select(columns).iter_rows():
        found.setdefault((source, event_id, meter_id), []).append(Cover(account_id, bucket, meter_id, scale, quanta))
    return found


def _less(rows: pl.DataFrame, covered: dict[tuple[int, int], int], terms: Terms) -> pl.DataFrame:
    """The rows with `quantity_quanta` less what is covered."""
    parts = [(event, meter, quanta) for (event, meter), quanta in covered.items()]
    return less_covered(rows, pl.DataFrame(parts, schema=_MORE, orient="row"), terms)
