"""Invoice numbers have no gap and no repeat."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from invoicing.numbering import number_invoices, read_numbers
from schemas.billing import INVOICES
from schemas.errors import BrokenPromise


def invoices(*rows: tuple[str, str, str | None]) -> pl.DataFrame:
    """(account, issue date, number)."""
    return INVOICES.build(
        [
            {"account_id": account, "currency": "CNY", "issue_date": date.fromisoformat(day), "invoice_no": number}
            for account, day, number in rows
        ]
    )


def numbers(draft: pl.DataFrame, issued: pl.DataFrame, series: str = "INV") -> list[tuple[str, str]]:
    return number_invoices(draft, issued, series).select("account_id", "invoice_no").rows()


def test_the_first_number_of_a_year_is_one_and_accounts_are_in_order() -> None:
    draft = invoices(("zeta", "2026-11-01", None), ("acme", "2026-11-15", None))
    assert numbers(draft, INVOICES.empty()) == [("acme", "INV-2026-000001"), ("zeta", "INV-2026-000002")]


def test_numbers_follow_on_those_already_given_in_the_same_series_and_year() -> None:
    issued = invoices(("a", "2026-11-01", "INV-2026-000009"), ("b", "2026-11-01", "FA-2026-000030"))
    assert numbers(invoices(("acme", "2026-12-01", None)), issued) == [("acme", "INV-2026-000010")]
    assert numbers(invoices(("acme", "2026-12-01", None)), issued, "FA") == [("acme", "FA-2026-000031")]
    assert numbers(invoices(("acme", "2027-01-01", None)), issued) == [("acme", "INV-2027-000001")]


def test_numbers_beyond_six_digits_go_on() -> None:
    issued = invoices(("a", "2026-11-01", "INV-2026-999999"))
    assert numbers(invoices(("acme", "2026-12-01", None)), issued) == [("acme", "INV-2026-1000000")]


def test_a_foreign_number_in_the_table_is_noticed() -> None:
    with pytest.raises(BrokenPromise, match="not of the form"):
        read_numbers(invoices(("acme", "2026-11-01", "2026/17")))
