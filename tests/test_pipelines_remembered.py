"""A rater whose memory ends some months back rates as one that remembers everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import polars as pl
import pytest

import pipelines.remembered
from ledger.state import EVENT_COLUMNS, Part, aggregate_totals, usage_rows
from ledger.table import LedgerTable
from pipelines.rater import Rater, RateResult
from pipelines.remembered import Remembered
from pipelines.settings import Limits
from rating.terms import compile_terms
from schemas.errors import BrokenPromise
from schemas.ledger import POSITION_KEY
from schemas.usage import RawBatch
from tests.corrections_world import RECEIVED_MS, Shop, retraction, usage

STREAM = "kafka:usage@1"
MONTHS = ["2026-06", "2026-07", "2026-08", "2026-09", "2026-10"]


class Reader:
    """One worker's rater over one partition of a shop's topic."""

    def __init__(self, shop: Shop, months: int) -> None:
        self.shop = shop
        self.rater = Rater(shop.workspace, shop.ledger, Limits(remember_months=months))
        self.offset = 0
        self.start()

    def start(self) -> None:
        self.rater.assign([(STREAM, 0)])

    def read(self, values: list[bytes]) -> RateResult:
        offsets = range(self.offset, self.offset + len(values))
        self.offset += len(values)
        return self.rater.process([RawBatch(STREAM, 0, offsets, values, [RECEIVED_MS] * len(values))])


def live_through(reader: Reader, *, restarts: bool) -> list[RateResult]:
    """Five months of usage; late, repeated and retracted events of all of them at the end."""
    halves = {month: usage(120, seed=7, month=month) for month in MONTHS}
    done = []
    for month in MONTHS:
        done.append(reader.read(halves[month][::2]))
        if restarts:
            reader.start()
    late = [value for month in MONTHS for value in halves[month][1::6]]
    again = [value for month in MONTHS for value in halves[month][::10]]
    back = [retraction(halves[month][0], f"back-{month}") for month in MONTHS]
    mixed = late + again + back + back
    Random(3).shuffle(mixed)
    half = len(mixed) // 2
    return [*done, reader.read(mixed[:half]), reader.read(mixed[half:])]


@pytest.mark.parametrize("restarts", [False, True])
def test_late_repeated_and_retracted_events_of_old_months_are_rated_as_if_all_were_remembered(
    restarts: bool, tmp_path: Path
) -> None:
    short, long = (Reader(Shop(tmp_path / f"keeps-{months}"), months) for months in (1, 120))
    outcomes = [
        [(done.events, done.postings, done.duplicates, done.rejects) for done in live_through(reader, restarts=restarts)]
        for reader in (short, long)
    ]
    assert outcomes[0] == outcomes[1]
    assert sum(duplicates for _, _, duplicates, _ in outcomes[0]) > 0
    rows = [reader.shop.postings().sort(POSITION_KEY) for reader in (short, long)]
    assert rows[0].equals(rows[1])
    assert short.shop.disagreeing() == []


def test_memory_holds_the_newest_months_and_lets_the_oldest_go_when_one_begins(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    reader = Reader(shop, 1)
    for month in MONTHS[:3]:
        reader.read(usage(60, month=month))
    known = Remembered(shop.ledger.postings, 1)
    known.rebuild()
    kept = shop.postings().filter((pl.col("usage_month") >= MONTHS[1]) & (pl.col("role") == "revenue"))
    assert len(known.seen) == kept.select("event_source", "event_id").n_unique()
    assert len(known.seen) == len(reader.rater._remembered.seen)
    reader.read(usage(60, month=MONTHS[3]))
    assert len(reader.rater._remembered.seen) < shop.postings().filter(role="revenue")["event_id"].n_unique()


def test_only_accounts_with_old_usage_are_read_from_the_ledger(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    reader = Reader(shop, 1)
    months = {month: usage(60, month=month) for month in MONTHS}
    for values in months.values():
        reader.read(values)
    known = Remembered(shop.ledger.postings, 1)
    known.rebuild()
    before = len(known.seen)
    oldest = shop.postings().filter(usage_month=MONTHS[0], role="revenue")
    subject = oldest["subscription_id"][0]
    account = oldest["account_id"][0]
    at = pl.Series("occurred_at", [oldest["occurred_at"][0]])
    terms = compile_terms(*shop.workspace.load())
    known.reach_back(pl.DataFrame({"subject": [subject]}).with_columns(at), terms)
    old = shop.postings().filter((pl.col("usage_month") < MONTHS[3]) & (pl.col("role") == "revenue"), account_id=account)
    assert len(known.seen) == before + old.select(EVENT_COLUMNS[:2]).n_unique() > before
    known.reach_back(pl.DataFrame({"subject": [subject]}).with_columns(at), terms)  # is known by now
    assert len(known.seen) == before + old.select(EVENT_COLUMNS[:2]).n_unique()


def test_a_ledger_whose_aggregate_is_beyond_64_bits_stops_the_rater(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    reader = Reader(shop, 1)
    reader.read(usage(20, month=MONTHS[0]))
    rows = shop.postings().filter(role="revenue").head(1)
    most = rows.with_columns(before_quanta=pl.lit(0, pl.Int64), after_quanta=pl.lit(2**63 - 1, pl.Int64))
    shop.ledger.postings.append(most, expected={"file:x/0": None}, reached={"file:x/0": 0})
    with pytest.raises(BrokenPromise, match="beyond 64 bits"):
        Remembered(shop.ledger.postings, 1).rebuild()


def test_counters_of_one_pass_are_the_sums_that_the_ledger_says(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    reader = Reader(shop, 120)
    live_through(reader, restarts=False)
    known = Remembered(shop.ledger.postings, 120)
    known.rebuild()
    totals = aggregate_totals(shop.ledger.postings)
    assert known.counters.before(totals).rows() == totals.select("after_quanta", "events").rows()
    assert totals.height > 10


def test_a_ledger_is_read_again_only_when_it_or_the_memory_moved_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path / "shop")
    reader = Reader(shop, 1)
    values = usage(60, month=MONTHS[0])
    reader.read(values[:40])
    reads: list[Part] = []

    def counted(postings: LedgerTable, part: Part) -> Iterator[pl.DataFrame]:
        reads.append(part)
        return usage_rows(postings, part)

    monkeypatch.setattr(pipelines.remembered, "usage_rows", counted)
    reader.start()  # has rated since
    reader.start()
    reader.start()
    assert len(reads) == 1
    reader.read(values[40:50])
    other = Reader(shop, 1)
    assert len(reads) == 2
    reader.start()
    assert len(reads) == 3
    other.offset = reader.offset
    other.read(values[50:])
    reader.start()  # another has written
    assert len(reads) == 4
    assert len(reader.rater._remembered.seen) == len(other.rater._remembered.seen)
