"""A workspace with a small price book, in a folder, that rates events and bills. No tests in here."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import polars as pl

from catalog.versions import publish_book, publish_roster
from ledger.table import source_id
from pipelines.bill_run import BillRun, finalize, run
from pipelines.workspace import Workspace
from rating.balance.accounts import Balances
from rating.batch import rate_batch
from rating.counters import Counters
from rating.seen import SeenEvents
from rating.terms import compile_terms
from schemas.book import TAXES, Book
from schemas.ledger import POSTINGS
from schemas.period import Period
from tests.rating_world import Row, World, arriving, event, instant, tiers

OCTOBER, NOVEMBER, DECEMBER = Period(2026, 10), Period(2026, 11), Period(2026, 12)

BOSS_TOML = """\
[company]
name = "Cloudmeet Ltd."
address = "88 Century Avenue"
tax_id = "91310115MA1K4XXX7T"
bank = "Bank of Shanghai"

[billing]
starts = "2026-10"
"""


def minutes_world() -> World:
    """A meter of minutes at 0.125, no fee; accounts acme (English) and beta (Chinese) with a subscription each."""
    world = World().meter(unit="minutes").price("usage", tiers((None, "0.125")), name_en="Minutes", name_zh="会议时长")
    for account, language in (("acme", "en"), ("beta", "zh")):
        world.account(account, name=account.title(), language=language)
        world.subscription(f"{account}-1", account)
    return world


def with_fee(world: World, fee: str = "310") -> World:
    """The world with a monthly fee per licence."""
    return world.price(
        "seat",
        tiers((None, fee)),
        charge="recurring",
        meter_id=None,
        model="flat",
        interval="month",
        name_en="Plan",
        name_zh="套餐",
    )


def used(event_id: str, minutes: str, subject: str = "acme-1", day: str = "2026-10-15") -> Row:
    return event(event_id, minutes, subject=subject, occurred_at=instant(day))


class Office:
    """One company's workspace: publishes, rates what it is given into the ledger, and bills."""

    def __init__(self, root: Path, world: World, *, taxes: dict[str, str] | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        (root / "boss.toml").write_text(BOSS_TOML, encoding="utf-8")
        self.workspace = Workspace.open(root)
        self.ledger = self.workspace.ledger()
        self.world = world
        self.taxes = taxes if taxes is not None else {"standard": "0.06"}
        self._counters = Counters()
        self._seen = SeenEvents()
        self._balances = Balances()
        self._offset = 0
        self.publish()

    def book(self) -> Book:
        rows: list[Row] = [
            {"country": "CN", "tax_class": name, "rate": Decimal(rate), "valid_from": instant("2020-01-01")}
            for name, rate in self.taxes.items()
        ]
        return replace(self.world.book(), taxes=TAXES.build(rows))

    def publish(self) -> None:
        """Freeze the world as it is now."""
        publish_book(self.book(), self.workspace.books)
        publish_roster(self.world.roster(), self.workspace.rosters)

    def rate(self, *events: Row) -> pl.DataFrame:
        """Rate the events into the ledger, as one batch of the source file:test."""
        book, roster = self.workspace.load()
        batch = arriving(*events, offset=self._offset)
        rated = rate_batch(batch, compile_terms(book, roster), self._counters, self._seen, balances=self._balances)
        assert rated.rejects.is_empty(), rated.rejects
        self._counters.advance(rated.postings)
        self._seen.remember(rated.postings)
        self._balances.advance(rated.postings)
        self._append(rated.postings, len(events))
        return rated.postings

    def post(self, rows: list[Row]) -> None:
        """Put hand-made POSTINGS into the ledger, one message each."""
        placed = [
            {"stream": "file:test", "stream_partition": 0, "stream_offset": self._offset + place, "stream_row": 0} | row
            for place, row in enumerate(rows)
        ]
        self._append(POSTINGS.build(placed), len(rows))

    def bill(self, period: Period) -> BillRun:
        """Run and finalize at once."""
        run(self.workspace, period)
        return finalize(self.workspace, period)

    def lines(self, period: Period, account: str = "acme") -> pl.DataFrame:
        """Final lines of one account."""
        rows = self.ledger.lines.scan().filter(period=str(period), account_id=account).collect()
        return rows.sort("line")

    def files(self) -> dict[str, bytes]:
        """Every file of runs and invoices by its path, without locks."""
        root = self.workspace.root
        found = [path for name in ("runs", "invoices") for path in sorted((root / name).rglob("*")) if path.is_file()]
        return {str(path.relative_to(root)): path.read_bytes() for path in found if path.name != ".writer.lock"}

    def _append(self, postings: pl.DataFrame, messages: int) -> None:
        source = source_id("file:test", 0)
        before = self._offset - 1 if self._offset else None
        self._offset += messages
        self.ledger.postings.append(postings, expected={source: before}, reached={source: self._offset - 1})
