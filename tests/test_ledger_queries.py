"""The analysts' views give every row once, exact, and the journal balances."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import polars as pl
import pytest

from ledger.queries import names, text
from schemas.frames import AMOUNT
from schemas.ledger import POSTINGS, Role

AMOUNTS: list[tuple[str | None, str, str, str]] = [
    # event, role, amount, currency
    ("e-1", "revenue", "10.000000000000000001", "CNY"),
    ("e-1", "revenue", "2.5", "CNY"),
    ("e-1", "share", "1.25", "CNY"),
    ("e-1", "cost", "4", "CNY"),
    ("e-2", "revenue", "-3", "CNY"),
    ("e-2", "share", "-0.6", "CNY"),
    ("e-3", "cost", "7", "USD"),
    (None, "revenue", "99", "CNY"),
]


def posting(event: str | None, role: str, amount: str, currency: str) -> dict[str, object]:
    return {
        "event_source": "meet",
        "event_id": event,
        "account_id": "acme",
        "role": role,
        "amount": Decimal(amount),
        "currency": currency,
        "usage_month": "2026-10",
        "quantity_quanta": 1500,
        "after_quanta": 1500,
        "quantity_scale": 3,
    }


ROWS = [posting(*row) for row in AMOUNTS]


def run(name: str, rows: list[dict[str, object]] = ROWS) -> pl.DataFrame:
    connection = duckdb.connect()
    connection.register("postings", POSTINGS.build(rows))
    relation = connection.sql(text(name))
    assert relation is not None
    frame: pl.DataFrame = relation.pl()
    return frame


@pytest.mark.parametrize("scale", range(10))
@pytest.mark.parametrize("quanta", [0, 1, -15, 2**63 - 1, -(2**63)])
def test_quantities_become_units_exactly(scale: int, quanta: int) -> None:
    row: dict[str, object] = {"quantity_quanta": quanta, "after_quanta": quanta, "quantity_scale": scale}
    units = run("posted_units", [row]).select("quantity", "aggregate_before", "aggregate_after")
    expected = Decimal(f"{quanta}e-{scale}")
    assert units.rows() == [(expected, None, expected)]
    assert units.dtypes == [AMOUNT] * 3


def test_posted_units_has_every_other_column_and_loses_no_row() -> None:
    units = run("posted_units", [*ROWS, {"quantity_scale": None, "amount": Decimal(1)}])
    assert units.height == len(ROWS) + 1
    assert set(POSTINGS.names()) - set(units.columns) == {
        *("quantity_quanta", "reported_quanta", "before_quanta", "after_quanta", "quantity_scale")
    }


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.HOLD, Role.NOTICE)])
def test_every_role_has_one_debit_and_one_credit_account(role: Role) -> None:
    entry = run("journal", [{"role": role.value, "amount": Decimal("-1.5"), "currency": "CNY"}])
    assert entry.select("debit_account", "credit_account").null_count().row(0) == (0, 0)
    assert entry["debit_account"][0] != entry["credit_account"][0]
    assert entry["amount"].to_list() == [Decimal("-1.5")], "a negative amount stays on its side"


def test_a_balance_is_a_deposit_that_usage_turns_into_what_was_receivable() -> None:
    rows: list[dict[str, object]] = [
        {"role": role, "charge": charge, "amount": Decimal(amount), "currency": "CNY"}
        for role, charge, amount in [
            ("balance", "topup", "50"),
            ("revenue", "usage", "20"),
            ("balance", "deduct", "-20"),
            ("hold", "request", "30"),
            ("notice", "low", "0"),
        ]
    ]
    journal = run("journal", rows).sort("amount", "debit_account")
    assert journal.select("debit_account", "credit_account", "amount").rows() == [
        ("customer_deposits", "unbilled_receivable", Decimal(20)),
        ("unbilled_receivable", "revenue", Decimal(20)),
        ("cash_clearing", "customer_deposits", Decimal(50)),
    ]


def test_the_journal_balances_and_its_accounts_are_the_sums_of_the_roles() -> None:
    journal = run("journal")
    assert journal.height == len(ROWS)
    debits = journal.group_by(account="debit_account", currency="currency").agg(pl.col("amount").sum())
    credits_ = journal.group_by(account="credit_account", currency="currency").agg(-pl.col("amount").sum())
    assert sum(debits["amount"]) + sum(credits_["amount"]) == 0
    balances = {row[:2]: row[2] for row in pl.concat([debits, credits_]).rows()}
    assert balances["unbilled_receivable", "CNY"] == -balances["revenue", "CNY"] == Decimal("108.500000000000000001")
    assert balances["partner_shares", "CNY"] == -balances["partners_payable", "CNY"] == Decimal("0.65")
    assert balances["carrier_costs", "USD"] == -balances["carriers_payable", "USD"] == Decimal(7)


def test_the_margin_of_an_event_is_what_partner_and_carrier_leave_of_its_revenue() -> None:
    margin = run("margin").sort("event_id").select("event_id", "currency", "revenue", "share", "cost", "margin")
    assert margin.rows() == [
        ("e-1", "CNY", Decimal("12.500000000000000001"), Decimal("1.25"), Decimal(4), Decimal("7.250000000000000001")),
        ("e-2", "CNY", Decimal(-3), Decimal("-0.6"), Decimal(0), Decimal("-2.4")),
        ("e-3", "USD", Decimal(0), Decimal(0), Decimal(7), Decimal(-7)),
    ]
    assert margin.dtypes[2:] == [AMOUNT] * 4


@pytest.mark.parametrize("name", names())
def test_a_view_says_what_a_row_is_and_computes_no_float(name: str) -> None:
    query = text(name)
    assert query.startswith("--")
    assert "-- grain:" in query
    code = "\n".join(line for line in query.splitlines() if not line.startswith("--"))
    assert "/" not in code
    assert "*\n" not in code
    assert not any(isinstance(dtype, pl.Float64 | pl.Float32) for dtype in run(name).dtypes)
