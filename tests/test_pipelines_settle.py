"""Settling a month on a real ledger: which rows a run covers, stored once, files for each partner."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ledger.book import Ledger, open_ledger
from pipelines.settle import Settlement, draft_statements, settle_period
from pipelines.store_once import closing_source
from schemas.billing import OUTCOMES, RUNS
from schemas.book import AGREEMENTS, BOOK_FRAMES, Book
from schemas.errors import BrokenPromise, PeriodOpen
from schemas.ledger import POSTINGS
from schemas.period import Period
from schemas.roster import PARTNERS, ROSTER_FRAMES, Roster

OCTOBER, NOVEMBER, DECEMBER = Period(2026, 10), Period(2026, 11), Period(2026, 12)
USAGE = "kafka:usage@1"

BOOK = Book(
    1,
    "",
    **{name: schema.empty() for name, schema in BOOK_FRAMES.items() if name != "agreements"},
    agreements=AGREEMENTS.build(
        [
            {"agreement_id": "a", "partner_id": "reseller", "price_id": price, "share": Decimal("0.2")}
            for price in ("meeting.minutes", "plan.fee")
        ]
    ),
)
ROSTER = Roster(
    1,
    "",
    **{name: schema.empty() for name, schema in ROSTER_FRAMES.items() if name != "partners"},
    partners=PARTNERS.build([{"partner_id": "reseller", "name": "Reseller Ltd"}]),
)


def shared(offset: int, revenue: str, month: Period = OCTOBER, **changes: object) -> list[dict[str, object]]:
    """The revenue row and the share row (20 percent) of one event of a month."""
    row: dict[str, object] = {
        "stream": USAGE,
        "stream_partition": 0,
        "stream_offset": offset,
        "stream_row": 0,
        "event_source": "/meter",
        "event_id": f"e{offset}",
        "account_id": "acme",
        "subscription_id": "acme-conf",
        "role": "revenue",
        "charge": "usage",
        "price_id": "meeting.minutes",
        "price_version": "2026-01-01",
        "usage_period": month.first_day,
        "usage_month": str(month),
        "currency": "CNY",
        "amount": Decimal(revenue),
        **changes,
    }
    share = {"stream_row": 1, "role": "share", "partner_id": "reseller", "amount": Decimal(revenue) / 5}
    return [row, {**row, **share}]


def fee(period: Period, revenue: str) -> list[dict[str, object]]:
    """A fee of the month after the run's, posted by the run, and its share: one offset each."""
    none = {"event_source": None, "event_id": None}
    changes = {"stream": f"run:{period}", "charge": "recurring", "price_id": "plan.fee", **none}
    first, second = shared(0, revenue, period.next(), **changes)
    return [first, {**second, "stream_offset": 1, "stream_row": 0}]


def post(ledger: Ledger, rows: list[dict[str, object]]) -> None:
    frame = POSTINGS.build(rows)
    reached = {f"{stream}/0": int(offset) for stream, offset in frame.group_by("stream").agg(pl.max("stream_offset")).rows()}
    ledger.postings.append(frame, expected=ledger.postings.positions(reached), reached=reached)


def finalise(ledger: Ledger, period: Period, through: dict[str, int], failed: tuple[str, ...] = ()) -> None:
    """What a finalised run leaves in the ledger, as far as settlement looks at it."""
    rows = [
        {
            "period": str(period),
            "stream": stream,
            "stream_partition": 0,
            "through_offset": offset,
            "book_version": 1,
            "roster_version": 1,
        }
        for stream, offset in through.items()
    ]
    outcomes: list[dict[str, object]] = [
        {"period": str(period), "account_id": account, "outcome": "failed"} for account in failed
    ]
    source = f"run:{period}/0"
    ledger.outcomes.append(OUTCOMES.build(outcomes), expected={}, reached={source: 1})
    ledger.runs.append(RUNS.build(rows), expected={}, reached={source: 1})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(tmp_path / "ledger")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "statements"


def settle(ledger: Ledger, folder: Path, period: Period = OCTOBER) -> Settlement:
    return settle_period(ledger, BOOK, ROSTER, period, folder)


def facts(settlement: Settlement) -> list[tuple[object, ...]]:
    return settlement.lines.select("price_id", "usage_period", "late", "revenue_amount", "share_amount").rows()


def test_a_month_is_settled_with_its_usage_and_the_fees_its_run_posted(ledger: Ledger, folder: Path) -> None:
    post(ledger, [*shared(0, "10"), *shared(1, "0.03"), *fee(OCTOBER, "300")])
    finalise(ledger, OCTOBER, {USAGE: 1, "run:2026-10": 1})
    settlement = settle(ledger, folder)
    assert facts(settlement) == [
        ("meeting.minutes", date(2026, 10, 1), False, Decimal("10.03"), Decimal("2.01")),
        ("plan.fee", date(2026, 11, 1), False, Decimal(300), Decimal(60)),
    ]
    assert settlement.statements.select("partner_name", "lines", "share_amount").rows() == [
        ("Reseller Ltd", 2, Decimal("62.01"))
    ]
    assert not settlement.stored_before


def test_a_month_that_is_not_final_is_refused_and_nothing_is_stored(ledger: Ledger, folder: Path) -> None:
    post(ledger, shared(0, "10"))
    with pytest.raises(PeriodOpen, match="boss bill finalize --period 2026-10"):
        settle(ledger, folder)
    assert ledger.statements.version() == -1
    assert not folder.exists()


def test_late_usage_is_on_the_next_statement_on_its_own_line(ledger: Ledger, folder: Path) -> None:
    post(ledger, shared(0, "10"))
    finalise(ledger, OCTOBER, {USAGE: 0, "run:2026-10": -1})
    post(ledger, [*shared(1, "5"), *shared(2, "7", NOVEMBER), *shared(3, "1", DECEMBER)])
    assert facts(settle(ledger, folder))[0][3:] == (Decimal(10), Decimal(2)), "what has landed since is not October's"
    finalise(ledger, NOVEMBER, {USAGE: 3, "run:2026-10": -1, "run:2026-11": -1})
    assert facts(settle(ledger, folder, NOVEMBER)) == [
        ("meeting.minutes", date(2026, 10, 1), True, Decimal(5), Decimal(1)),
        ("meeting.minutes", date(2026, 11, 1), False, Decimal(7), Decimal("1.4")),
    ]


def test_an_account_that_failed_in_a_run_is_settled_with_the_run_that_bills_it(ledger: Ledger, folder: Path) -> None:
    zeta: dict[str, Any] = {"account_id": "zeta", "subscription_id": "zeta-conf"}
    post(ledger, [*shared(0, "10"), *shared(1, "20", **zeta)])
    finalise(ledger, OCTOBER, {USAGE: 1, "run:2026-10": -1}, failed=("zeta",))
    finalise(ledger, NOVEMBER, {USAGE: 1, "run:2026-10": -1, "run:2026-11": -1})
    assert settle(ledger, folder).lines["account_id"].to_list() == ["acme"]
    assert settle(ledger, folder, NOVEMBER).lines["account_id"].to_list() == ["zeta"]


def test_settling_twice_changes_nothing(ledger: Ledger, folder: Path) -> None:
    post(ledger, shared(0, "10"))
    finalise(ledger, OCTOBER, {USAGE: 0, "run:2026-10": -1})
    first = settle(ledger, folder)
    written = {path: path.read_bytes() for path in first.files}
    versions = (ledger.statements.version(), ledger.statement_lines.version())
    post(ledger, shared(1, "99"))
    second = settle(ledger, folder)
    assert second.stored_before
    assert second.lines.equals(first.lines)
    assert second.statements.equals(first.statements)
    assert {path: path.read_bytes() for path in second.files} == written
    assert (ledger.statements.version(), ledger.statement_lines.version()) == versions


def test_settling_goes_on_where_a_crash_left_it(ledger: Ledger, folder: Path) -> None:
    post(ledger, shared(0, "10"))
    finalise(ledger, OCTOBER, {USAGE: 0, "run:2026-10": -1})
    lines, _ = draft_statements(ledger, BOOK, ROSTER, OCTOBER)
    ledger.statement_lines.append(lines, expected={}, reached={closing_source("settle", OCTOBER): 1})
    settlement = settle(ledger, folder)
    assert settlement.lines.height == 1
    assert settlement.statements["share_amount"].to_list() == [Decimal(2)]


def test_a_month_without_shares_is_settled_with_nothing(ledger: Ledger, folder: Path) -> None:
    post(ledger, shared(0, "10")[:1])
    finalise(ledger, OCTOBER, {USAGE: 0, "run:2026-10": -1})
    assert settle(ledger, folder).files == []
    assert settle(ledger, folder).stored_before


def test_a_share_above_the_agreement_stops_the_settlement(ledger: Ledger, folder: Path) -> None:
    revenue, share = shared(0, "10")
    post(ledger, [revenue, {**share, "amount": Decimal("2.5")}])
    finalise(ledger, OCTOBER, {USAGE: 0, "run:2026-10": -1})
    with pytest.raises(BrokenPromise, match=r"check_percent.*partner_id reseller"):
        settle(ledger, folder)
    assert ledger.statement_lines.version() == -1


def test_each_partner_gets_a_csv_and_a_json_file_with_exact_text(ledger: Ledger, folder: Path) -> None:
    yen: dict[str, Any] = {"account_id": "nippon", "subscription_id": "nippon-conf", "currency": "JPY"}
    other = shared(2, "1")
    other[1] |= {"partner_id": "../agent:7"}
    post(ledger, [*shared(0, "10.026"), *shared(1, "12", **yen), *other])
    finalise(ledger, OCTOBER, {USAGE: 2, "run:2026-10": -1})
    settlement = settle(ledger, folder)
    names = sorted(path.relative_to(folder).as_posix() for path in settlement.files)
    assert names == [
        "2026-10/%2E.%2Fagent%3A7.csv",
        "2026-10/%2E.%2Fagent%3A7.json",
        "2026-10/reseller.csv",
        "2026-10/reseller.json",
    ]
    document = json.loads((folder / "2026-10" / "reseller.json").read_text())
    assert document["partner_name"] == "Reseller Ltd"
    assert document["totals"] == [
        {"currency": "CNY", "lines": 1, "revenue_amount": "10.026", "share_amount": "2.01"},
        {"currency": "JPY", "lines": 1, "revenue_amount": "12", "share_amount": "2"},
    ]
    assert document["lines"][0] == {
        "line": 1,
        "account_id": "acme",
        "price_id": "meeting.minutes",
        "usage_period": "2026-10-01",
        "late": False,
        "events": 1,
        "revenue_amount": "10.026",
        "exact_amount": "2.0052",
        "share_amount": "2.01",
        "currency": "CNY",
    }
    assert (folder / "2026-10" / "reseller.csv").read_text().splitlines() == [
        "period,partner_id,line,account_id,price_id,usage_period,late,events,revenue_amount,exact_amount,share_amount,currency",
        "2026-10,reseller,1,acme,meeting.minutes,2026-10-01,false,1,10.026,2.0052,2.01,CNY",
        "2026-10,reseller,2,nippon,meeting.minutes,2026-10-01,false,1,12,2.4,2,JPY",
    ]
