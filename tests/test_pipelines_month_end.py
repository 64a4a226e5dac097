"""The whole month's end: rated usage is billed, settled and measured, and the three speak of the same rows."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

from pipelines.measure_revenue import measure_revenue
from pipelines.settle import settle
from pipelines.sql_access import query_workspace
from tests.billing_world import NOVEMBER, OCTOBER, Office, used, with_fee
from tests.rating_world import World, tiers


def office(folder: Path) -> Office:
    """Minutes at 0.125 and a fee of 310; acme was brought by a partner with 20 percent of minutes and 10 of fees."""
    world = World().meter(unit="minutes").price("usage", tiers((None, "0.125")), name_en="Minutes", name_zh="会议时长")
    for account, partner in (("acme", "agent"), ("beta", None)):
        world.account(account, name=account.title(), language="en", partner_id=partner).subscription(f"{account}-1", account)
    return Office(folder, with_fee(world).share("usage", "0.2").share("seat", "0.1"))


def test_a_month_is_billed_settled_and_measured_and_late_usage_follows_in_the_next(tmp_path: Path) -> None:
    company = office(tmp_path / "company")
    company.rate(used("1", "100"), used("2", "40", subject="beta-1"))
    company.bill(OCTOBER)
    company.rate(used("late", "8"), used("3", "16", day="2026-11-02"))

    settlement = settle(company.workspace, OCTOBER)
    columns = ["price_id", "usage_period", "late", "revenue_amount", "share_amount"]
    assert settlement.lines.select(columns).rows() == [
        ("seat", date(2026, 10, 1), False, Decimal(310), Decimal(31)),
        ("seat", date(2026, 11, 1), False, Decimal(310), Decimal(31)),
        ("usage", date(2026, 10, 1), False, Decimal("12.5"), Decimal("2.5")),
    ]
    assert settlement.statements["share_amount"].to_list() == [Decimal("64.5")]
    assert [path.name for path in settlement.files] == ["agent.csv", "agent.json"]

    open_month = measure_revenue(company.workspace, NOVEMBER)
    assert not open_month.final
    assert open_month.summary.select("usage_revenue").rows() == [(Decimal(3),)]

    company.bill(NOVEMBER)
    assert settle(company.workspace, NOVEMBER).lines.select(columns).rows() == [
        ("seat", date(2026, 12, 1), False, Decimal(310), Decimal(31)),
        ("usage", date(2026, 10, 1), True, Decimal(1), Decimal("0.2")),
        ("usage", date(2026, 11, 1), False, Decimal(2), Decimal("0.4")),
    ]
    months = [measure_revenue(company.workspace, period) for period in (OCTOBER, NOVEMBER)]
    assert all(month.final for month in months)
    assert [month.summary.select("mrr_end", "arpa", "usage_revenue", "share_cost").row(0) for month in months] == [
        (Decimal(620), Decimal(310), Decimal("17.5"), Decimal("64.5")),
        (Decimal(620), Decimal(310), Decimal(3), Decimal("31.6")),
    ]


def test_what_month_end_stored_can_be_queried_and_agrees_with_the_ledger(tmp_path: Path) -> None:
    company = office(tmp_path / "company")
    company.rate(used("1", "100"), used("2", "40", subject="beta-1"))
    company.bill(OCTOBER)
    settle(company.workspace, OCTOBER)
    measure_revenue(company.workspace, OCTOBER)
    answer = query_workspace(
        company.workspace,
        """
        select
            (select sum(exact_amount) from statement_lines) as settled,
            (select sum(amount) from postings where role = 'share') as shared,
            (select sum(share_cost) from summary) as measured,
            (select sum(exact_amount) from lines where charge = 'usage') as billed,
            (select sum(usage_revenue) from summary) as usage_revenue
        """,
    )
    assert answer.row(0) == (Decimal("64.5"), Decimal("64.5"), Decimal("64.5"), Decimal("17.5"), Decimal("17.5"))
