"""A company that sells minutes, with a customer who pays in advance; events go through the real pipeline. No tests in here."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.checks import run_checks
from pipelines.rate_file import rate_chunks
from schemas.period import Period
from schemas.usage import RawBatch
from tests.billing_world import Office, with_fee
from tests.rating_world import World, tiers

RECEIVED_MS = 1_830_000_000_000


def prepaid_world(price: str = "1", *, fee: str | None = None, **more: Any) -> World:
    """`acme` pays in advance, `beta` does not; a subscription each, whole units at `price`."""
    world = World().meter().price("usage", more.pop("steps", None) or tiers((None, price)), own=False, **more)
    if fee:
        with_fee(world, fee)
    for account, charging in (("acme", "prepaid"), ("beta", "postpaid")):
        world.account(account, name=account.title(), charging=charging).subscription(f"{account}-1", account)
    return world


class PrepaidOffice(Office):
    """Rates messages as `boss rate` does, one file each time."""

    def __init__(self, root: Path, world: World, *, tax: str = "0") -> None:
        super().__init__(root, world, taxes={"standard": tax})
        self._files = 0

    def send(self, *messages: bytes) -> dict[str, int]:
        """Rate the messages; gives the reasons of rejects."""
        self._files += 1
        batch = RawBatch(f"file:{self._files:03d}", 0, range(len(messages)), list(messages), [RECEIVED_MS] * len(messages))
        return dict(rate_chunks(self.workspace, [batch], lambda _: None).rejects)

    def invoice(self, period: Period, account: str = "acme") -> dict[str, Any]:
        rows = self.ledger.invoices.scan().filter(period=str(period), account_id=account).collect()
        return rows.row(0, named=True) if rows.height else {}

    def amounts(self, period: Period, account: str = "acme") -> tuple[str, str, str]:
        """Total, paid and due of an invoice, to two places."""
        row = self.invoice(period, account)
        return tuple(f"{row[name]:.2f}" for name in ("total_amount", "paid_amount", "due_amount"))  # type: ignore[return-value]

    def taken(self, account: str = "acme") -> Decimal:
        """What usage has taken from the account's balance, as the ledger's rows add up."""
        rows = self.ledger.postings.scan().filter(role="balance", charge="deduct", account_id=account).collect()
        return -sum(rows["amount"].to_list(), Decimal(0))

    def disagreeing(self) -> list[str]:
        checked = run_checks(self.workspace)
        return checked.filter(~pl.col("agrees"))["check"].to_list()


def message(event_id: str, kind: str, subject: str, day: str, data: dict[str, object], **more: object) -> bytes:
    event = {"specversion": "1.0", "id": event_id, "source": "/till", "type": kind, "subject": subject}
    return json.dumps(event | {"time": f"{day}T12:00:00Z", "data": data} | more).encode()


def usage(event_id: str, units: int | str, day: str = "2026-10-15", subject: str = "acme-1", **more: object) -> bytes:
    return message(event_id, "used", subject, day, {"value": units}, **more)


def topup(event_id: str, day: str = "2026-10-01", **data: object) -> bytes:
    return message(event_id, "boss.balance.topup", "acme", day, data)
