"""Events about balances, as tests like to write them, and what a desk says of a balance. No tests in here."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import polars as pl

from rating.balance.accounts import Balances
from schemas.balance import OrderType
from schemas.ledger import MOVE_COLUMNS, POSITION_KEY
from tests.rating_world import Desk, Row, World, event, instant, tiers


def prepaid(price: str = "1", *, steps: list[Row] | None = None, scale: int = 0, **more: Any) -> World:
    """A prepaid account `acme` with a subscription `acme-1` that pays `price` a unit."""
    details = {name: more.pop(name) for name in ("low_balance", "overdraft") if name in more}
    money: dict[str, Any] = {name: Decimal(str(value)) for name, value in details.items()}
    world = World().meter(quantity_scale=scale).price("usage", steps or tiers((None, price)), own=False, **more)
    return world.account(charging="prepaid", **money).subscription()


def order(kind: OrderType, event_id: str, at: str = "2026-10-15", subject: str = "acme", **data: Any) -> Row:
    """An event about a balance."""
    message = json.dumps({"id": event_id, "type": kind.value, "data": data}).encode()
    return {
        "event_source": "till",
        "event_id": event_id,
        "event_type": kind.value,
        "subject": subject,
        "occurred_at": instant(at),
        "message": message,
    }


def topup(event_id: str, amount: str | None = None, at: str = "2026-10-15", **data: Any) -> Row:
    return order(OrderType.TOPUP, event_id, at, **({"amount": amount} if amount else {}), **data)


def adjust(event_id: str, amount: str | None = None, at: str = "2026-10-15", **data: Any) -> Row:
    return order(OrderType.ADJUST, event_id, at, **({"amount": amount} if amount else {}), **data)


def used(event_id: str, quantity: str, at: str = "2026-10-15", **more: object) -> Row:
    return event(event_id, quantity, occurred_at=instant(at), **more)


def buckets(desk: Desk, account_id: str = "acme") -> dict[str, str]:
    """What each bucket holds, as the rows add up: money as it is, units in quanta."""
    rows = desk.postings.filter(role="balance", account_id=account_id)
    sums = rows.group_by("price_id").agg(pl.col("amount").sum(), pl.col("quantity_quanta").sum()).sort("price_id")
    return {name: f"{quanta} units" if quanta else f"{amount.normalize():f}" for name, amount, quanta in sums.iter_rows()}


def state(balances: Balances) -> dict[str, object]:
    return {name: balances.account(name) for name in balances.names()}


def rebuilt(postings: pl.DataFrame) -> dict[str, object]:
    """What a restart finds in these rows."""
    again = Balances()
    again.load(postings.filter(pl.col("role").is_in(["balance", "hold", "notice"])).sort(POSITION_KEY).select(MOVE_COLUMNS))
    return state(again)


def notices(desk: Desk) -> list[str]:
    """The notices in their order."""
    return desk.postings.filter(role="notice").sort("account_id", "after_quanta")["charge"].to_list()
