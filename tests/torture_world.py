"""The company under torture: the template `video-conference`, a customer who pays in advance, and some that come later.

Its prices and customers are published again and again. Nothing that is charged changes by that: a name does,
or somebody new comes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Context, Decimal
from pathlib import Path
from random import Random

import orjson
import polars as pl

from pipelines.workspace import Workspace
from schemas.balance import OrderType

PERIOD = "2026-10"
PREPAID = "maple"
PREPAID_SUBJECT = f"conf-{PREPAID}"
TEMPLATE_SUBJECT = "conf-pine"
"""Whose events some become those of our customers: the same prices, and no webinars."""

ACCOUNT = """
  - {{id: {name}, name: {title}, country: CN, currency: CNY, zone: Asia/Shanghai, charging: {charging}, address: Shanghai}}
"""
SUBSCRIPTION = """
  - {{id: sub-{name}, account: {name}, plan: video.pro.month, licences: 1, from: 2026-01-01, identifiers: [conf-{name}]}}
"""
ORDERS_MADE = pl.Schema({"order_id": pl.String(), "bucket": pl.String(), "amount": pl.Decimal(38, 18)})
"""One row per order about the balance that was sent."""

EXACT = Context(prec=60)


class World:
    """A workspace whose drafts can be changed; who its customers are by now."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace.create(root, "video-conference", PERIOD)
        self.newcomers: list[str] = []
        """Subjects of customers that came later and are published."""
        self._coming = 0
        self._renamed = 0
        self._add(PREPAID, "prepaid")
        self.workspace.publish()

    def rename(self) -> None:
        """Draft a price book in which a price has another name and all costs the same."""
        self._renamed += 1
        plans = self.workspace.catalog_folder / "plans.yaml"
        text = plans.read_text(encoding="utf-8")
        old = f"Concurrent ports (peak){f' {self._renamed - 1}' if self._renamed > 1 else ''}"
        assert old in text
        plans.write_text(text.replace(old, f"Concurrent ports (peak) {self._renamed}"), encoding="utf-8")

    def invite(self) -> None:
        """Draft a customer. It is there when the draft is published: `welcome`."""
        self._coming += 1
        self._add(f"new-{self._coming}", "postpaid")

    def welcome(self) -> None:
        """The drafts are published: their customers may use the service now."""
        self.newcomers = [f"conf-new-{number}" for number in range(1, self._coming + 1)]

    def _add(self, name: str, charging: str) -> None:
        for file, row in (("accounts.yaml", ACCOUNT), ("subscriptions.yaml", SUBSCRIPTION)):
            path = self.workspace.roster_folder / file
            text = path.read_text(encoding="utf-8")
            new = row.format(name=name, title=name.title(), charging=charging).lstrip("\n")
            head, partners, tail = text.partition("partners:")
            path.write_text(f"{head.rstrip()}\n{new}\n{partners}{tail}", encoding="utf-8")


def with_our_customers(values: Sequence[bytes], newcomers: Sequence[str]) -> list[bytes]:
    """The template's events, of which some of one customer become those of ours: of PREPAID every second, of newcomers some."""
    seats = itertools.cycle([PREPAID_SUBJECT, TEMPLATE_SUBJECT, PREPAID_SUBJECT, *newcomers, TEMPLATE_SUBJECT])
    return [
        value.replace(_named(TEMPLATE_SUBJECT), _named(next(seats))) if _named(TEMPLATE_SUBJECT) in value else value
        for value in values
    ]


def _named(subject: str) -> bytes:
    return f'"subject":"{subject}"'.encode()


def make_orders(chunk: int, time: str, events: int) -> tuple[list[bytes], pl.DataFrame]:
    """Top-ups and corrections of the prepaid account at a time: the messages, and ORDERS_MADE.

    The first, for the bucket `main`, is about what the account's part of so many events costs; one goes to `bonus`, which is
    used first, and the last takes away from that.
    """
    random = Random(chunk)
    plan = [(OrderType.TOPUP, "main", events), (OrderType.TOPUP, "bonus", 50), (OrderType.ADJUST, "bonus", -10)]
    orders, rows = [], []
    for number, (kind, bucket, most) in enumerate(plan):
        amount = EXACT.multiply(Decimal(random.randrange(1, 10**6)).scaleb(-6), Decimal(f"{most}.000000000001"))
        order_id = f"order-{chunk}-{number}"
        priority = {"priority": "10"} if (kind, bucket) == (OrderType.TOPUP, "bonus") else {}
        orders.append(_event(order_id, kind, time, {"amount": f"{amount:f}", "bucket": bucket, **priority}))
        rows.append((order_id, bucket, amount))
    return orders, pl.DataFrame(rows, schema=ORDERS_MADE, orient="row")


def bad_order(chunk: int, time: str) -> bytes:
    """A top-up that takes away, which is a reject."""
    return _event(f"poison-order-{chunk}", OrderType.TOPUP, time, {"amount": "-5"})


def _event(order_id: str, kind: OrderType, time: str, data: dict[str, str]) -> bytes:
    head = {"specversion": "1.0", "id": order_id, "source": "/till", "type": kind.value, "subject": PREPAID, "time": time}
    return orjson.dumps({**head, "data": data})
