"""Measuring a month on a real ledger: shown while it is open, stored once when its run is final."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from ledger.book import Ledger, open_ledger
from pipelines.measure_revenue import Measured, measure_period
from schemas.billing import LINES, OUTCOMES, RUNS
from schemas.book import BOOK_FRAMES, Book
from schemas.errors import BrokenPromise
from schemas.ledger import POSTINGS
from schemas.metrics import FEES
from schemas.money import round_money
from schemas.period import Period
from schemas.roster import ROSTER_FRAMES, Roster

OCTOBER, NOVEMBER = Period(2026, 10), Period(2026, 11)
USAGE = "kafka:usage@1"
BOOK = Book(1, "", **{name: schema.empty() for name, schema in BOOK_FRAMES.items()})
ROSTER = Roster(1, "", **{name: schema.empty() for name, schema in ROSTER_FRAMES.items()})


def fee(account: str, monthly_fee: str, start: date, end: date | None = None) -> dict[str, object]:
    return {
        "subscription_id": f"{account}-conf",
        "account_id": account,
        "price_id": "plan.fee",
        "currency": "CNY",
        "monthly_fee": Decimal(monthly_fee),
        "fee_from": start,
        "fee_to": end,
    }


FEES_HELD = [fee("acme", "300", date(2026, 1, 1)), fee("beta", "99.99", date(2026, 10, 8))]


def post(ledger: Ledger, offset: int, amount: str, month: Period = OCTOBER) -> None:
    """A usage row and a share row of a tenth."""
    row: dict[str, object] = {
        "stream": USAGE,
        "stream_partition": 0,
        "stream_offset": offset,
        "account_id": "acme",
        "role": "revenue",
        "charge": "usage",
        "usage_period": month.first_day,
        "usage_month": str(month),
        "currency": "CNY",
        "amount": Decimal(amount),
    }
    share = {"stream_row": 1, "role": "share", "partner_id": "reseller", "amount": Decimal(amount) / 10}
    source = f"{USAGE}/0"
    before = ledger.postings.position(source)
    ledger.postings.append(
        POSTINGS.build([{**row, "stream_row": 0}, {**row, **share}]), expected={source: before}, reached={source: offset}
    )


def finalise(ledger: Ledger, period: Period, through: int, billed: str) -> None:
    """What a finalised run leaves in the ledger, as far as metrics look at it: one line for usage and one for fees."""
    runs: list[dict[str, object]] = [{"period": str(period), "stream": USAGE, "stream_partition": 0, "through_offset": through}]
    lines: list[dict[str, object]] = [
        {"period": str(period), "charge": charge, "currency": "CNY", "net_amount": round_money(Decimal(amount), "CNY")}
        for charge, amount in [("usage", billed), ("recurring", "300")]
    ]
    source = f"run:{period}/0"
    ledger.outcomes.append(OUTCOMES.empty(), expected={}, reached={source: 1})
    ledger.lines.append(LINES.build(lines), expected={}, reached={source: 1})
    ledger.runs.append(RUNS.build(runs), expected={}, reached={source: 1})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(tmp_path / "ledger")


def measure(ledger: Ledger, period: Period = OCTOBER, fees: list[dict[str, object]] | None = None) -> Measured:
    return measure_period(ledger, BOOK, ROSTER, FEES.build(FEES_HELD if fees is None else fees), period)


def test_a_month_is_measured_from_its_fees_and_the_rows_its_run_billed(ledger: Ledger) -> None:
    post(ledger, 0, "12.345")
    finalise(ledger, OCTOBER, 0, "12.345")
    post(ledger, 1, "99")
    measured = measure(ledger)
    assert measured.final
    assert measured.movements.select("account_id", "movement", "mrr_change").rows() == [("beta", "new", Decimal("99.99"))]
    assert measured.summary.to_dicts() == [
        {
            "period": "2026-10",
            "currency": "CNY",
            "mrr_start": Decimal(300),
            "mrr_new": Decimal("99.99"),
            "mrr_expansion": Decimal(0),
            "mrr_contraction": Decimal(0),
            "mrr_churn": Decimal(0),
            "mrr_reactivation": Decimal(0),
            "mrr_end": Decimal("399.99"),
            "paying_accounts": 2,
            "arpa": Decimal("200.00"),
            "usage_revenue": Decimal("12.35"),
            "share_cost": Decimal("1.23"),
        }
    ]


def test_a_month_that_is_not_final_is_shown_and_not_stored(ledger: Ledger) -> None:
    post(ledger, 0, "10")
    measured = measure(ledger)
    assert not measured.final
    assert measured.summary["usage_revenue"].to_list() == [Decimal(10)]
    assert ledger.summary.version() == -1
    assert ledger.movements.version() == -1


def test_late_usage_counts_in_the_month_that_bills_it_so_months_add_up_to_the_ledger(ledger: Ledger) -> None:
    post(ledger, 0, "10")
    finalise(ledger, OCTOBER, 0, "10")
    post(ledger, 1, "5")
    post(ledger, 2, "7", NOVEMBER)
    finalise(ledger, NOVEMBER, 2, "12")
    assert measure(ledger).summary["usage_revenue"].to_list() == [Decimal(10)]
    assert measure(ledger, NOVEMBER).summary["usage_revenue"].to_list() == [Decimal(12)]


def test_what_is_stored_stays_when_the_roster_changes_afterwards(ledger: Ledger) -> None:
    post(ledger, 0, "10")
    finalise(ledger, OCTOBER, 0, "10")
    first = measure(ledger)
    versions = (ledger.summary.version(), ledger.movements.version())
    second = measure(ledger, fees=[fee("acme", "1", date(2026, 1, 1))])
    assert second.summary.equals(first.summary)
    assert second.movements.equals(first.movements)
    assert (ledger.summary.version(), ledger.movements.version()) == versions


def test_usage_revenue_that_the_invoices_do_not_have_stops_the_measuring(ledger: Ledger) -> None:
    post(ledger, 0, "10")
    finalise(ledger, OCTOBER, 0, "11")
    with pytest.raises(BrokenPromise, match=r"2026-10 do not add up in CNY: usage revenue = invoice lines"):
        measure(ledger)
    assert ledger.summary.version() == -1


def test_a_month_with_fees_and_no_usage_yet_is_measured_too(ledger: Ledger) -> None:
    measured = measure(ledger)
    assert measured.summary.select("mrr_end", "usage_revenue", "share_cost").rows() == [
        (Decimal("399.99"), Decimal(0), Decimal(0))
    ]


def test_a_month_without_anything_has_no_summary(ledger: Ledger) -> None:
    assert measure(ledger, fees=[]).summary.is_empty()
