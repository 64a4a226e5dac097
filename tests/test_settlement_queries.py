"""Partner statements from hand-made rows of a run: what revenue stands beside a share, what is rounded, what a check finds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import duckdb
import polars as pl
import pytest

from schemas.billing import STATEMENT_LINES, STATEMENTS
from schemas.book import AGREEMENT_TIERS, AGREEMENTS
from schemas.ledger import POSTINGS
from schemas.roster import PARTNERS
from settlement.queries import read_query

OCTOBER = date(2026, 10, 1)


def posting(offset: int, role: str, amount: str, **changes: object) -> dict[str, object]:
    """A row of October usage of account acme at one place of the stream."""
    return {
        "stream": "kafka:usage@1",
        "stream_partition": 0,
        "stream_offset": offset,
        "stream_row": 0 if role == "revenue" else 1,
        "event_source": "/meter",
        "event_id": f"e{offset}",
        "account_id": "acme",
        "subscription_id": "acme-conf",
        "role": role,
        "partner_id": None if role == "revenue" else "reseller",
        "charge": "usage",
        "meter_id": "minutes",
        "price_id": "meeting.minutes",
        "price_version": "2026-01-01",
        "usage_period": OCTOBER,
        "usage_month": "2026-10",
        "currency": "CNY",
        "amount": Decimal(amount),
        **changes,
    }


def shared(offset: int, revenue: str, share: str, **changes: object) -> list[dict[str, object]]:
    """The revenue row and the share row of one event."""
    return [posting(offset, "revenue", revenue, **changes), posting(offset, "share", share, **changes)]


def agreement(share: str, price: str = "meeting.minutes") -> dict[str, object]:
    return {"agreement_id": "a", "partner_id": "reseller", "price_id": price, "share": Decimal(share)}


class Books:
    """The tables the settlement reads, on a connection of their own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def load(self, postings: list[dict[str, object]], *, share: str = "0.2") -> None:
        late = pl.Series([bool(row.get("late")) for row in postings], dtype=pl.Boolean)
        self.put("postings", POSTINGS.build(postings))
        self.put("billed", POSTINGS.build(postings).with_columns(late=late))
        self.put("agreements", AGREEMENTS.build([agreement(share), agreement(share, "plan.fee")]))
        self.put("agreement_tiers", AGREEMENT_TIERS.empty())
        units = [Decimal(1).scaleb(-scale) for scale in range(10)]
        scales = {"quantity_scale": pl.Series(range(10), dtype=pl.Int8), "unit": pl.Series(units, dtype=pl.Decimal(10, 9))}
        self.put("quantity_units", pl.DataFrame(scales))
        self.put("partners", PARTNERS.build([{"partner_id": "reseller", "name": "Reseller Ltd"}]))
        self.put("currencies", pl.DataFrame({"currency": ["CNY", "JPY", "KWD"], "digits": [2, 0, 3]}))

    def put(self, name: str, frame: pl.DataFrame) -> None:
        self.connection.register("incoming", frame)
        self.connection.execute(f'create or replace table "{name}" as select * from incoming')

    def ask(self, query: str, period: str | None = None) -> pl.DataFrame:
        params = {"period": period} if period else None
        relation = self.connection.sql(read_query(query), params=params)
        assert relation is not None
        frame: pl.DataFrame = relation.pl()
        return frame

    def lines(self, period: str = "2026-10") -> pl.DataFrame:
        self.put("shares", self.ask("shares"))
        lines = STATEMENT_LINES.select(self.ask("statement_lines", period))
        self.put("drafted_lines", lines)
        return lines

    def statements(self) -> pl.DataFrame:
        return STATEMENTS.select(self.ask("statements"))


@pytest.fixture
def books() -> Iterator[Books]:
    with duckdb.connect(":memory:") as connection:
        yield Books(connection)


def facts(lines: pl.DataFrame, *names: str) -> list[tuple[object, ...]]:
    return lines.select(names).rows()


def test_a_line_adds_up_an_accounts_shares_of_a_price_next_to_their_revenue(books: Books) -> None:
    books.load([*shared(0, "10", "2"), *shared(1, "0.024", "0.0048")])
    assert books.lines().to_dicts() == [
        {
            "period": "2026-10",
            "partner_id": "reseller",
            "line": 1,
            "account_id": "acme",
            "price_id": "meeting.minutes",
            "usage_period": OCTOBER,
            "late": False,
            "events": 2,
            "revenue_amount": Decimal("10.024"),
            "exact_amount": Decimal("2.0048"),
            "share_amount": Decimal("2.00"),
            "currency": "CNY",
        }
    ]
    assert books.statements().to_dicts() == [
        {
            "period": "2026-10",
            "partner_id": "reseller",
            "partner_name": "Reseller Ltd",
            "currency": "CNY",
            "lines": 1,
            "revenue_amount": Decimal("10.024"),
            "share_amount": Decimal("2.00"),
        }
    ]


def test_revenue_without_a_share_is_not_on_the_statement(books: Books) -> None:
    books.load([*shared(0, "10", "2"), posting(1, "revenue", "99")])
    assert facts(books.lines(), "revenue_amount") == [(Decimal(10),)]


def test_a_recurring_fee_meets_its_share_although_their_positions_differ(books: Books) -> None:
    fee = {"stream": "run:2026-10", "charge": "recurring", "price_id": "plan.fee", "event_source": None, "event_id": None}
    in_advance = {**fee, "usage_period": date(2026, 11, 1), "usage_month": "2026-11"}
    rows = [posting(0, "revenue", "300", **in_advance), posting(1, "share", "60", **in_advance)]
    books.load(rows)
    assert facts(books.lines(), "price_id", "revenue_amount", "exact_amount", "late") == [
        ("plan.fee", Decimal(300), Decimal(60), False)
    ]


def test_two_events_of_one_message_keep_their_own_revenue(books: Books) -> None:
    rows = [*shared(0, "10", "2"), *shared(0, "30", "6", event_id="other")]
    books.load(rows)
    assert facts(books.lines(), "events", "revenue_amount", "exact_amount") == [(2, Decimal(40), Decimal(8))]


@pytest.mark.parametrize(
    ("currency", "exact", "rounded"),
    [
        ("CNY", "0.005", "0.01"),
        ("CNY", "-0.005", "-0.01"),
        ("CNY", "0.004999999999999999", "0"),
        ("JPY", "2.5", "3"),
        ("KWD", "0.0005", "0.001"),
    ],
)
def test_a_share_is_rounded_half_up_to_its_currencys_minor_unit(books: Books, currency: str, exact: str, rounded: str) -> None:
    books.load(shared(0, "100", exact, currency=currency))
    assert facts(books.lines(), "share_amount") == [(Decimal(rounded),)]


def test_lines_are_numbered_within_a_partner_and_a_statement_is_the_sum_of_rounded_lines(books: Books) -> None:
    rows = [
        *shared(0, "1", "0.005"),
        *shared(1, "1", "0.005", account_id="zeta", subscription_id="zeta-conf"),
        *shared(2, "1", "1", currency="JPY", account_id="nippon", subscription_id="nippon-conf"),
    ]
    books.load(rows)
    assert facts(books.lines(), "line", "account_id") == [(1, "acme"), (2, "zeta"), (3, "nippon")]
    assert facts(books.statements(), "currency", "lines", "share_amount") == [
        ("CNY", 2, Decimal("0.02")),
        ("JPY", 1, Decimal(1)),
    ]


def test_late_usage_has_a_line_of_its_own(books: Books) -> None:
    september = {"usage_period": date(2026, 9, 1), "usage_month": "2026-09", "late": True}
    books.load([*shared(0, "10", "2"), *shared(1, "5", "1", **september)])
    assert facts(books.lines(), "line", "usage_period", "late", "exact_amount") == [
        (1, date(2026, 9, 1), True, Decimal(1)),
        (2, OCTOBER, False, Decimal(2)),
    ]


def test_a_share_that_lost_its_fee_is_paid_all_the_same(books: Books) -> None:
    books.load([posting(0, "share", "-3")])
    assert facts(books.lines(), "revenue_amount", "exact_amount") == [(Decimal(0), Decimal(-3))]


def test_the_ledger_check_is_silent_when_statements_say_what_the_ledger_says(books: Books) -> None:
    books.load([*shared(0, "10", "2"), *shared(6, "7", "1.4", late=True), *shared(7, "9", "1", currency="JPY")])
    books.lines()
    assert books.ask("check_ledger").is_empty()


def test_the_ledger_check_names_the_partner_whose_lines_were_changed(books: Books) -> None:
    books.load(shared(0, "10", "2"))
    books.put("drafted_lines", books.lines().with_columns(exact_amount=pl.lit("1.5").cast(pl.Decimal(38, 18))))
    assert facts(books.ask("check_ledger"), "partner_id", "exact_amount", "ledger_amount") == [
        ("reseller", Decimal("1.5"), Decimal(2))
    ]


def test_the_ledger_check_sees_a_share_counted_twice(books: Books) -> None:
    books.load([*shared(0, "10", "2"), posting(0, "revenue", "10", stream_row=7)])
    books.lines()
    assert facts(books.ask("check_ledger"), "events", "ledger_events") == [(2, 1)]


@pytest.mark.parametrize(("share", "found"), [("2", 0), ("2.000000000000000001", 0), ("2.01", 1), ("-2.01", 1)])
def test_the_percent_check_finds_usage_shares_above_the_agreement(books: Books, share: str, found: int) -> None:
    books.load(shared(0, "10", share))
    books.lines()
    assert books.ask("check_percent", "2026-10").height == found


def test_the_percent_check_accepts_rows_of_both_signs_at_different_percentages(books: Books) -> None:
    books.load([*shared(0, "100", "20"), *shared(1, "-50", "-5")])
    books.lines()
    assert books.ask("check_percent", "2026-10").is_empty()


def test_the_percent_check_compares_a_recurring_share_with_all_rows_of_its_fee(books: Books) -> None:
    fee = {"charge": "recurring", "price_id": "plan.fee", "event_source": None, "event_id": None}
    october, november = {**fee, "stream": "run:2026-10"}, {**fee, "stream": "run:2026-11"}
    rows = [
        posting(0, "revenue", "300", **october),
        posting(1, "share", "30", **october),
        posting(0, "share", "30", **november),  # the agreement was raised from 10 to 20 percent afterwards
    ]
    books.load(rows)
    books.lines("2026-11")
    assert books.ask("check_percent", "2026-11").is_empty()
    books.put("agreements", AGREEMENTS.build([agreement("0.15", "plan.fee")]))
    assert facts(books.ask("check_percent", "2026-11"), "share_amount", "revenue_amount") == [(Decimal(60), Decimal(300))]


def checked(books: Books, rows: list[dict[str, object]], terms: dict[str, object], tiers: list[str] | None = None) -> int:
    """How many wrong rows the percent check finds under one agreement."""
    books.load(rows)
    books.put("agreements", AGREEMENTS.build([agreement("0") | {"share": None} | terms]))
    parts = [{"agreement_id": "a", "tier": number, "share": Decimal(part)} for number, part in enumerate(tiers or [])]
    books.put("agreement_tiers", AGREEMENT_TIERS.build(parts))
    books.lines()
    return books.ask("check_percent", "2026-10").height


@pytest.mark.parametrize(("share", "found"), [("3", 0), ("3.1", 1)])
def test_a_share_in_tiers_is_held_to_the_largest_percentage(books: Books, share: str, found: int) -> None:
    assert checked(books, shared(0, "10", share), {}, ["0.1", "0.3"]) == found


@pytest.mark.parametrize(("share", "found"), [("0.06", 0), ("-0.06", 0), ("0.09", 1)])
def test_a_share_by_units_is_held_to_the_amount_for_them(books: Books, share: str, found: int) -> None:
    units = {"before_quanta": 1000, "after_quanta": 3999, "quantity_scale": 3}
    assert checked(books, shared(0, "10", share, **units), {"per_unit": Decimal("0.02")}) == found


def test_what_is_taken_off_for_a_cost_stands_beside_the_cost_below_zero(books: Books) -> None:
    cost = {"price_id": "telco.minutes"}
    rows = [*shared(0, "10", "2"), posting(0, "cost", "4", partner_id="telco", **cost), posting(0, "share", "-0.8", **cost)]
    assert checked(books, rows, {"share": Decimal("0.2"), "of": "margin"}) == 0
    assert facts(books.lines(), "price_id", "revenue_amount", "share_amount") == [
        ("meeting.minutes", Decimal(10), Decimal(2)),
        ("telco.minutes", Decimal(-4), Decimal("-0.8")),
    ]
    assert facts(books.statements(), "revenue_amount", "share_amount") == [(Decimal(6), Decimal("1.2"))]
    assert checked(books, [*rows[:3], posting(0, "share", "-4.1", **cost)], {"share": Decimal("0.2"), "of": "margin"}) == 1
