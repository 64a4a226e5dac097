"""Reads the events about balances: who they are for, and what they ask. What cannot be done is a reject with a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple

import polars as pl
from pydantic import ValidationError

from rating.ownership import Owners, reject_misplaced_orders
from rating.rejects import REJECTED
from rating.seen import CONTENT, SeenEvents, fingerprint_events
from rating.terms import Terms
from schemas.balance import ORDER_DATA, RESERVED, AdjustData, OrderType, ReleaseData, ReservationData
from schemas.frames import INSTANT
from schemas.usage import RejectReason

UNIT_AGGREGATIONS = ("sum", "count")
"""Units can stand for usage where the aggregate is a plain total; a maximum cannot be used up."""

_LONGEST_SENTENCE = 240


@dataclass(frozen=True)
class Order:
    """One event about a balance, understood."""

    event: int  # row of EVENTS
    kind: OrderType
    account_id: str
    subject: str
    occurred_at: datetime
    digest: str  # of the content
    data: AdjustData | ReservationData | ReleaseData
    meter_id: str | None = None
    meter: int | None = None  # row of Terms.meters
    quantity_scale: int = 0
    quanta: int = 0  # of a quantity
    expires_at: datetime | None = None


class Read(NamedTuple):
    orders: list[Order]
    rejected: pl.DataFrame  # REJECTED
    duplicates: int


NOTHING_READ = Read([], REJECTED.empty(), 0)


class _Wrong(Exception):
    def __init__(self, reason: RejectReason, sentence: str) -> None:
        self.reason, self.sentence = reason, sentence


def is_order() -> pl.Expr:
    """Whether an event is about a balance."""
    return pl.col("event_type").str.starts_with(RESERVED)


def read_orders(events: pl.DataFrame, terms: Terms, seen: SeenEvents, owners: Owners | None = None) -> Read:
    """The orders among these events, in order of arrival, each only once.

    Args:
        events: EVENTS with `event`, those whose type is BOSS's own.
        owners: Who counts which account's balance; None: whoever has the event.
    """
    if events.is_empty():
        return Read([], REJECTED.empty(), 0)
    payers = _payers(events, terms)
    named = pl.col("account_id").is_in([*events["subject"], *payers.values()])
    accounts = {row["account_id"]: row for row in terms.accounts.filter(named).iter_rows(named=True)}
    understood: list[Order] = []
    wrong: list[dict[str, object]] = []
    for row in events.iter_rows(named=True):
        try:
            understood.append(_understand(row, payers.get(row["event"]), accounts, terms))
        except _Wrong as problem:
            wrong.append({"event": row["event"], "reason": problem.reason.value, "detail": problem.sentence})
    # before duplicates: of an event that came by both ways the one at its owner's counts
    names = {"event": [order.event for order in understood], "account_id": [order.account_id for order in understood]}
    told = pl.DataFrame(names, schema={"event": pl.UInt32, "account_id": pl.String})
    misplaced = reject_misplaced_orders(told, events, owners, seen)
    elsewhere = set(misplaced["event"])
    own = [order for order in understood if order.event not in elsewhere]
    fresh, differing, duplicates = _without_duplicates(own, events, seen)
    return Read(fresh, pl.concat([REJECTED.build(wrong + differing), misplaced]), duplicates)


def contents(orders: list[Order], events: pl.DataFrame) -> pl.DataFrame:
    """What tells orders apart, as `SeenEvents` knows usage: `event`, its id, and CONTENT with the digest as the value."""
    ids = events.filter(pl.col("event").is_in([order.event for order in orders]))
    told = pl.DataFrame(
        {
            "event": [order.event for order in orders],
            "subscription_id": [order.account_id for order in orders],
            "value": [order.digest for order in orders],
        },
        schema={"event": pl.UInt32, "subscription_id": pl.String, "value": pl.String},
    )
    named = told.join(ids.select("event", "event_source", "event_id"), on="event")
    timeless = named.with_columns(
        occurred_at=pl.lit(None, INSTANT), meter_id=pl.lit(None, pl.String), quantity_quanta=pl.lit(0, pl.Int64)
    )
    return timeless.select("event", "event_source", "event_id", *CONTENT)


def _without_duplicates(
    orders: list[Order], events: pl.DataFrame, seen: SeenEvents
) -> tuple[list[Order], list[dict[str, object]], int]:
    if not orders:
        return [], [], 0
    marked = fingerprint_events(contents(orders, events), by="event").sort("event")
    marked = marked.with_columns(seen.check(marked["id_hash"]).alias("known"))
    by_event = {order.event: order for order in orders}
    fresh: list[Order] = []
    differing: list[dict[str, object]] = []
    here: dict[int, int] = {}
    for event, id_hash, content, known in marked.select("event", "id_hash", "content_hash", "known").iter_rows():
        expected = known if known is not None else here.get(id_hash)
        if expected is None:
            here[id_hash] = content
            fresh.append(by_event[event])
        elif expected != content:
            sentence = "An event of this id and source was taken before with another content; send this one under a new id."
            differing.append({"event": event, "reason": RejectReason.DUPLICATE_DIFFERS.value, "detail": sentence})
    return fresh, differing, len(orders) - len(fresh) - len(differing)


def _payers(events: pl.DataFrame, terms: Terms) -> dict[int, str]:
    """Event -> the account of the subscription that its subject is at that time."""
    at = pl.col("occurred_at")
    named = events.select("event", "occurred_at", identifier="subject").join(terms.holders, on="identifier")
    held = named.filter(
        (pl.col("valid_from").is_null() | (pl.col("valid_from") <= at))
        & (pl.col("valid_to").is_null() | (at < pl.col("valid_to")))
    )
    return dict(held.join(terms.subscriptions, on="holder").select("event", "account_id").iter_rows())


def _understand(row: dict[str, Any], payer: str | None, accounts: dict[str, dict[str, Any]], terms: Terms) -> Order:
    """Raises _Wrong."""
    kind, data, text = _read_data(row)
    reserves = isinstance(data, ReservationData)
    account_id = payer if reserves or row["subject"] not in accounts else row["subject"]
    account = accounts.get(account_id or "")
    if account is None:
        what = "subscription or identifier" if reserves else "account, subscription or identifier"
        raise _Wrong(
            RejectReason.UNKNOWN_SUBJECT,
            f"No {what} is called {_quoted(row['subject'])} at that time; add it to the roster or mend the subject.",
        )
    if account["charging"] != "prepaid" and not isinstance(data, ReleaseData):
        raise _Wrong(
            RejectReason.NOT_PREPAID,
            f"Account '{account_id}' has no balance; write 'charging: prepaid' in the roster, or mend the subject.",
        )
    currency = getattr(data, "currency", None)
    if currency not in (None, account["currency"]):
        raise _Wrong(
            RejectReason.BAD_BALANCE,
            f"`data.currency` is {_quoted(currency)}, but account '{account_id}' has {account['currency']}.",
        )
    order = Order(row["event"], kind, str(account_id), row["subject"], row["occurred_at"], _digest(kind, text), data)
    return _with_meter(order, terms) if getattr(data, "meter", None) else order


def _read_data(row: dict[str, Any]) -> tuple[OrderType, AdjustData | ReservationData | ReleaseData, str]:
    """The type, the data and its text. Raises _Wrong."""
    if row["event_type"] not in list(OrderType):
        raise _Wrong(
            RejectReason.UNKNOWN_TYPE,
            f"{_quoted(row['event_type'])} is no type of BOSS; there are {', '.join(OrderType)}.",
        )
    kind = OrderType(row["event_type"])
    try:
        event = json.loads(row["message"], parse_float=str, parse_int=str, parse_constant=str)
        data = event.get("data") if isinstance(event, dict) else None
        model: Any = ORDER_DATA[kind].model_validate(data if isinstance(data, dict) else {})
    except ValidationError as error:
        raise _Wrong(RejectReason.BAD_BALANCE, _sentence(error)) from None
    except ValueError as error:
        raise _Wrong(RejectReason.BAD_BALANCE, f"The event's data cannot be read: {error}.") from None
    return kind, model, json.dumps(data, sort_keys=True)


def _with_meter(order: Order, terms: Terms) -> Order:
    """The order with its quantity in quanta of the meter. Raises _Wrong."""
    data: Any = order.data
    found = terms.meters.filter(pl.col("meter_id") == data.meter)
    if found.is_empty():
        raise _Wrong(RejectReason.BAD_BALANCE, f"`data.meter`: there is no meter {_quoted(data.meter)} in the price book.")
    meter = found.row(0, named=True)
    if meter["aggregation"] not in UNIT_AGGREGATIONS:
        raise _Wrong(
            RejectReason.BAD_BALANCE,
            f"`data.meter`: meter '{data.meter}' is a {meter['aggregation']}; only of a sum or a count can units be used up.",
        )
    scale = meter["quantity_scale"]
    quanta = Decimal(data.quantity).scaleb(scale)
    if quanta != int(quanta) or abs(quanta) >= 2**62:
        raise _Wrong(
            RejectReason.BAD_BALANCE,
            f"`data.quantity` is {data.quantity}; units of meter '{data.meter}' have at most {scale} decimals and 18 digits.",
        )
    expires_at = None
    if isinstance(data, ReservationData):
        expires_at = data.expires_at or order.occurred_at + timedelta(seconds=data.seconds or 0)
        if expires_at <= order.occurred_at:
            raise _Wrong(RejectReason.BAD_BALANCE, "`data.expires_at` is not after the event's own time.")
    return replace(
        order,
        meter_id=data.meter,
        meter=meter["meter"],
        quantity_scale=scale,
        quanta=int(quanta),
        expires_at=expires_at,
    )


def _digest(kind: OrderType, text: str) -> str:
    return sha256(f"{kind.value} {text}".encode()).hexdigest()[:32]


def _sentence(error: ValidationError) -> str:
    """The first mistake, where it is and what is wrong."""
    detail = error.errors(include_url=False)[0]
    place = ".".join(["data", *map(str, detail["loc"])])
    message = {"extra_forbidden": "is unknown; remove it", "missing": "is missing"}.get(
        detail["type"], detail["msg"].removeprefix("Value error, ")
    )
    shown = (
        f" ({_quoted(str(detail['input']))})" if detail["loc"] and detail["type"] not in ("missing", "extra_forbidden") else ""
    )
    return f"`{place}`{shown} {message}."[:_LONGEST_SENTENCE]


def _quoted(text: str) -> str:
    return f"'{text[:60]}...'" if len(text) > 60 else f"'{text}'"
