"""Balances follow the batch, event by event in order of arrival: usage is paid, orders are done, and what happened is told.

Of one event, in this order: sessions whose time is over end, units and money pay its usage, the session that it names ends,
an order is done, and when what is left has become little or enough again, that is told. Pure: the accounts are copies, and
what changed are rows of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import polars as pl

from rating.balance.accounts import Account, Balances, Moved, to_text
from rating.balance.money import Parts, draw, give_back
from rating.balance.orders import Order
from rating.balance.origins import Origins
from rating.balance.quote import Ask, Part, Quotes, Standing
from rating.balance.reserve import Grant, grant
from rating.balance.rows import Sheet
from rating.balance.units import Covered, order_move
from rating.counted_for import name_aggregates
from rating.rejects import REJECTED
from rating.terms import Terms
from schemas.balance import LEVELS, Level, Move, NoticeType, OrderType, ReservationData
from schemas.ledger import Role
from schemas.money import AMOUNT_SCALE
from schemas.usage import RejectReason

_NEEDS_SESSION = (OrderType.UPDATE, OrderType.RELEASE)


class Paid(NamedTuple):
    """One priced row of a prepaid account."""

    event: int
    charge: int
    usage_period: date
    scaled: int  # amount at scale 18
    after_quanta: int
    sign: int  # -1: it takes an event back
    account_id: str
    counted_for: str
    subscription_id: str
    meter_id: str
    price_id: str
    price_version: str
    quantity_scale: int


class Happened(NamedTuple):
    """One event that concerns a balance."""

    event: int
    account_id: str
    occurred_at: datetime
    session: str | None  # that its usage ends


@dataclass(frozen=True)
class AccountTerms:
    """What the roster says of a prepaid account."""

    currency: str
    low_scaled: int | None
    overdraft_scaled: int


class Settlement:
    """One walk over the events of a batch."""

    def __init__(
        self, known: dict[str, AccountTerms], balances: Balances, quotes: Quotes, covered: Covered, origins: Origins
    ) -> None:
        self._balances = balances
        self._quotes = quotes
        self._covers = covered.by_event
        self._origins = origins
        self._accounts: dict[str, Account] = {}
        self._terms = known
        self._parts: dict[tuple[str, str], list[Part]] = {}
        self._drawn: dict[tuple[int, str], Parts] = {}
        self.sheet = Sheet()
        self.rejected: list[dict[str, object]] = []

    def happen(self, happened: Happened, paid: list[Paid], order: Order | None = None, *, tell: bool = True) -> None:
        """Follow one event. `tell`: whether a change of level is told yet."""
        account = self._account(happened.account_id)
        before = account.moves
        self._expire(account, happened)
        self._cover(account, happened, paid)
        for row in paid:
            self._pay(account, happened, row)
        if happened.session in account.sessions:
            self._end(account, happened, str(happened.session), Move.RELEASE, None)
        if order is not None:
            self._follow(account, happened, order)
        if tell and account.moves > before:
            self._tell_level(account, happened)

    def _account(self, account_id: str) -> Account:
        if account_id not in self._accounts:
            self._accounts[account_id] = self._balances.account(account_id)
        return self._accounts[account_id]

    def _write(self, account: Account, happened: Happened, moved: Moved, **more: Any) -> None:
        account.apply(moved)
        account.moves += 1
        currency = self._terms[happened.account_id].currency
        self.sheet.add(happened.event, happened.account_id, currency, account.moves, moved, **more)

    def _expire(self, account: Account, happened: Happened) -> None:
        over = [session for session in account.sessions.values() if session.expires_at <= happened.occurred_at]
        for session in sorted(over, key=lambda session: (session.expires_at, session.name)):
            self._end(account, happened, session.name, Move.EXPIRE, None)

    def _end(self, account: Account, happened: Happened, name: str, move: Move, digest: str | None) -> None:
        session = account.sessions[name]
        facts: dict[str, Any] = {"session": name}
        freed = -session.held_quanta, -session.held_scaled
        moved = Moved(Role.HOLD, move, name, session.meter_id, session.quantity_scale, *freed, facts, happened.occurred_at)
        self._write(account, happened, moved, value=digest)

    def _pay(self, account: Account, happened: Happened, row: Paid) -> None:
        """Money for one priced row; what is negative is given back."""
        place = row.counted_for, row.price_id, row.price_version, row.usage_period
        if place in self._quotes.standing:
            self._quotes.standing[place] = Standing(row.after_quanta, self._quotes.standing[place].events + row.sign)
        origin = self._origins.of(row.event, row.price_id, self._drawn) if row.sign < 0 else []
        if origin is None or not row.scaled:
            return
        if row.scaled > 0:
            parts = draw(account, happened.occurred_at, row.scaled)
        else:
            parts = give_back(account, happened.occurred_at, -row.scaled, origin)
        self._drawn[row.event, row.price_id] = parts
        for bucket, scaled in parts:
            moved = Moved(
                *(Role.BALANCE, Move.DEDUCT, bucket, row.meter_id, row.quantity_scale, 0, -scaled, {}, happened.occurred_at)
            )
            self._write(account, happened, moved, **_what_for(row), value=row.price_id, price_version=row.price_version)

    def _cover(self, account: Account, happened: Happened, paid: list[Paid]) -> None:
        """Units that stand for usage: units.py has found them."""
        for cover in self._covers.get(happened.event, []):
            moved = Moved(
                *(Role.BALANCE, Move.DEDUCT, cover.bucket, cover.meter_id, cover.quantity_scale, cover.quanta, 0, {}),
                happened.occurred_at,
            )
            row = next((row for row in paid if row.meter_id == cover.meter_id), paid[0])
            self._write(account, happened, moved, **_what_for(row), value=row.price_id, price_version=row.price_version)

    def _follow(self, account: Account, happened: Happened, order: Order) -> None:
        if order.kind in (OrderType.TOPUP, OrderType.ADJUST):
            self._write(account, happened, order_move(order), value=order.digest)
            return
        session = getattr(order.data, "session", "")
        if (session in account.sessions) != (order.kind in _NEEDS_SESSION):
            self._reject(order, RejectReason.UNKNOWN_RESERVATION, _session_sentence(order, session))
        elif order.kind is OrderType.RELEASE:
            self._end(account, happened, session, Move.RELEASE, order.digest)
        elif order.event in self._quotes.refused:
            reason, sentence = self._quotes.refused[order.event]
            self._reject(order, RejectReason(reason), sentence)
        else:
            self._reserve(account, happened, order, session)

    def _reserve(self, account: Account, happened: Happened, order: Order, session: str) -> None:
        data = order.data
        assert isinstance(data, ReservationData)
        name = order.account_id
        self._parts[name, session] = self._quotes.parts(order.event)
        parts = {
            running: self._parts.get((name, running)) or self._quotes.parts((name, running))
            for running in [*account.sessions, session]
        }
        answer = grant(order, account, parts, self._quotes, self._terms[name].overdraft_scaled)
        told = _answer(order, answer)
        if answer.quanta:
            held = account.sessions.get(session)
            already = (held.held_quanta, held.held_scaled) if held else (0, 0)
            move = Move.UPDATE if held else Move.REQUEST
            facts = told | {"subject": order.subject, "dimensions": dict(data.dimensions)}
            change = answer.units - already[0], answer.scaled - already[1]
            moved = Moved(Role.HOLD, move, session, order.meter_id, order.quantity_scale, *change, facts, happened.occurred_at)
            self._write(account, happened, moved, value=order.digest)
        notice = NoticeType.GRANTED if answer.quanta else NoticeType.REFUSED
        self._notify(account, happened, notice, told, value=order.digest)

    def _tell_level(self, account: Account, happened: Happened) -> None:
        known = self._terms[happened.account_id]
        at = account.latest or happened.occurred_at
        money = account.money(at)
        has_money = any(bucket.meter_id is None for bucket in account.buckets.values())
        level = Level.OK
        if has_money and money + known.overdraft_scaled <= 0:
            level = Level.EXHAUSTED
        elif has_money and known.low_scaled is not None and money < known.low_scaled:
            level = Level.LOW
        step = LEVELS.index(level) - account.level
        if not step:
            return
        notice = NoticeType.RESTORED if step < 0 else NoticeType(level.value)
        facts = {"level": level.value, "balance": to_text(money, AMOUNT_SCALE), "currency": known.currency}
        self._notify(account, happened, notice, facts, step=step)

    def _notify(
        self, account: Account, happened: Happened, notice: NoticeType, facts: dict[str, Any], *, step: int = 0, **more: Any
    ) -> None:
        moved = Moved(Role.NOTICE, notice, notice.event_type, None, 0, step, 0, facts, happened.occurred_at)
        self._write(account, happened, moved, **more)

    def _reject(self, order: Order, reason: RejectReason, sentence: str) -> None:
        self.rejected.append({"event": order.event, "reason": reason.value, "detail": sentence})


def settle(
    events: pl.DataFrame,
    priced: pl.DataFrame,
    orders: list[Order],
    covered: Covered,
    origins: Origins,
    terms: Terms,
    balances: Balances,
    quotes: Quotes,
) -> tuple[Sheet, pl.DataFrame]:
    """The rows of balances that this batch makes, and REJECTED.

    Args:
        events: EVENTS with `event`; a retraction at the time of what it takes back.
        priced: PRICED.
    """
    paid = _paid(priced, origins, terms)
    asked = {order.event: order for order in orders}
    concerned = {event: rows[0].account_id for event, rows in paid.items()}
    concerned |= {event: order.account_id for event, order in asked.items()}
    walk = Settlement(account_terms(concerned.values(), terms), balances, quotes, covered, origins)
    numbers = pl.Series(sorted(concerned), dtype=pl.UInt32)
    session = "data.session" if "data.session" in events.columns else None
    told = events[numbers].select("event", "occurred_at", session=pl.col(session) if session else pl.lit(None, pl.String))
    for event, at, name in told.iter_rows():
        happened = Happened(event, concerned[event], at, name)
        walk.happen(happened, paid.get(event, []), asked.get(event))
    return walk.sheet, REJECTED.build(walk.rejected)


def prepare_quotes(orders: list[Order], terms: Terms, balances: Balances, counters: Any) -> Quotes:
    """Prices for the reservations of the batch, and for the sessions that their accounts have running."""
    wanted = [order for order in orders if isinstance(order.data, ReservationData)]
    asks = [
        Ask(order.event, order.subject, order.meter or 0, order.occurred_at, order.quanta, order.data.dimensions)  # type: ignore[union-attr]
        for order in wanted
    ]
    meters = dict(terms.meters.select("meter_id", "meter").iter_rows())
    for name in sorted({order.account_id for order in wanted}):
        for session in balances.account(name).sessions.values():
            if session.meter_id in meters:
                meter = meters[session.meter_id]
                asks.append(
                    Ask((name, session.name), session.subject, meter, session.since, session.quanta, session.dimensions)
                )
    return Quotes(asks, terms, counters)


def _paid(priced: pl.DataFrame, origins: Origins, terms: Terms) -> dict[int, list[Paid]]:
    """The priced rows that a balance pays, or gets back, by event and in the order in which they are posted."""
    sold = terms.usage["carrier_id"].is_null().gather(priced["charge"])
    mine = terms.prepaid.gather(priced["charge"]) | (priced["event"].is_in(origins.events) & sold)
    rows = priced.filter(mine)
    details = [
        "account_id",
        "counted_for",
        "subscription_id",
        "meter_id",
        "price_id",
        "price_version",
        "quantity_scale",
    ]
    told = rows.select(
        "event",
        "charge",
        "usage_period",
        scaled=pl.col("revenue_after") - pl.col("revenue_before"),
        after_quanta="after_quanta",
        sign=pl.when(pl.col("quantity_quanta") < 0).then(-1).otherwise(1),
    ).hstack(terms.usage.select(details)[rows["charge"]].with_columns(name_aggregates(rows, terms).get_columns()))
    found: dict[int, list[Paid]] = {}
    for row in told.sort("event", "price_id", maintain_order=True).iter_rows():
        found.setdefault(row[0], []).append(Paid._make(row))
    return found


def account_terms(names: Iterable[str], terms: Terms) -> dict[str, AccountTerms]:
    mine = terms.accounts.filter(pl.col("account_id").is_in(sorted(set(names))))
    money = mine.select("account_id", "currency", pl.col("low_balance", "overdraft").to_physical())
    return {name: AccountTerms(currency, low, overdraft or 0) for name, currency, low, overdraft in money.iter_rows()}


def _what_for(row: Paid) -> dict[str, Any]:
    return {"counted_for": row.counted_for, "subscription_id": row.subscription_id, "usage_period": row.usage_period}


def _answer(order: Order, answer: Grant) -> dict[str, Any]:
    """What a reservation is told."""
    data = order.data
    assert isinstance(data, ReservationData)
    assert order.expires_at is not None
    scale = order.quantity_scale
    facts: dict[str, Any] = {
        "session": data.session,
        "meter": data.meter,
        "wanted": to_text(order.quanta, scale),
        "granted": to_text(answer.quanta, scale),
        "held": to_text(answer.scaled, AMOUNT_SCALE),
        "held_units": to_text(answer.units, scale),
        "remaining": to_text(answer.remaining, AMOUNT_SCALE),
        "expires_at": order.expires_at.isoformat(),
    }
    return facts | ({"reason": answer.reason} if answer.reason else {})


def _session_sentence(order: Order, session: str) -> str:
    if order.kind in _NEEDS_SESSION:
        return (
            f"Session '{session}' of account '{order.account_id}' has nothing reserved: "
            "it has ended, or its time is over; send boss.reservation.request."
        )
    return (
        f"Session '{session}' of account '{order.account_id}' is running already; send boss.reservation.update to ask for more."
    )
