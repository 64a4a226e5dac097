"""An invoice line can be followed down to its events."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.explain import explain, explained_lines
from schemas.errors import NoSuchInvoice
from tests.billing_world import NOVEMBER, OCTOBER, Office, minutes_world, used, with_fee
from tests.rating_world import tiers


@pytest.fixture
def office(tmp_path: Path) -> Office:
    world = minutes_world()
    world.prices[0]["model"] = "graduated"
    world.price_tiers = [
        row | {"price_id": "usage", "price_version": "2026-01-01"} for row in tiers(("100", "1"), (None, "0.5"))
    ]
    office = Office(tmp_path / "acme", world)
    office.rate(*(used(f"e{number}", "30") for number in range(5)))
    office.bill(OCTOBER)
    return office


def test_a_line_is_explained_by_its_events_their_tiers_and_the_rounding(office: Office) -> None:
    told = explain(office.workspace, "INV-2026-000001", 1)
    assert told.postings.select("event_id", "before_quantity", "after_quantity", "tier", "amount").rows() == [
        ("e0", 0, 30, 0, 30),
        ("e1", 30, 60, 0, 30),
        ("e2", 60, 90, 0, 30),
        ("e3", 90, 120, 1, 20),
        ("e4", 120, 150, 1, 15),
    ]
    assert told.tiers.select("tier", "tier_from", "tier_to", "unit_price", "events", "amount").rows() == [
        (0, 0, 100, 1, 3, 90),
        (1, 100, None, Decimal("0.5"), 2, 35),
    ]
    assert told.terms.select("price_version", "terms_version", "model").rows() == [("2026-01-01", "2026-01-01", "graduated")]
    assert told.steps["amount"].to_list() == [125, 125, 0, Decimal("7.5"), Decimal("132.5")]
    assert told.conclusion == "5 rows add up to 125 CNY; the line says 125.00 CNY."


def test_only_the_first_rows_are_shown_and_the_rest_is_counted(office: Office) -> None:
    told = explain(office.workspace, "INV-2026-000001", 1, limit=2)
    assert (told.postings.height, told.omitted, told.omitted_amount) == (2, 3, Decimal(65))
    assert "3 rows over 65 are not shown" in told.conclusion
    assert told.sections()[3][0] == "Rows of the ledger (2 of 5)"


def test_a_late_line_shows_only_what_came_late(office: Office) -> None:
    office.rate(used("late", "10"), used("new", "1", day="2026-11-05"))
    office.bill(NOVEMBER)
    told = explain(office.workspace, "INV-2026-000002", 2)
    assert told.postings.select("event_id", "before_quantity", "after_quantity", "amount").rows() == [("late", 150, 160, 5)]
    first = explain(office.workspace, "INV-2026-000001", 1)
    assert first.postings["event_id"].to_list() == ["e0", "e1", "e2", "e3", "e4"]


def test_a_discount_is_explained_by_the_list_price_it_is_taken_off(tmp_path: Path) -> None:
    world = minutes_world()
    world.overrides.append(
        {"account_id": "acme", "price_id": "usage", "discount": Decimal("0.2"), "valid_from": world.prices[0]["valid_from"]}
    )
    office = Office(tmp_path / "discount", world)
    office.rate(used("a", "80"))
    office.bill(OCTOBER)
    told = explain(office.workspace, "INV-2026-000001", 1)
    assert told.terms.select("price_version", "terms_version").rows() == [("2026-01-01/acme-20%", "2026-01-01")]
    assert told.tiers.select("unit_price", "amount").rows() == [(Decimal("0.125"), 8)]


def test_a_fee_is_explained_by_the_row_its_run_posted(tmp_path: Path) -> None:
    office = Office(tmp_path / "fee", with_fee(minutes_world()))
    office.bill(OCTOBER)
    told = explain(office.workspace, "INV-2026-000001", 2)
    assert told.postings.select("stream", "quantity", "amount").rows() == [("run:2026-10", 30, 310)]


def test_shares_and_costs_of_the_events_stand_beside_them(tmp_path: Path) -> None:
    world = with_fee(minutes_world()).price("extra", tiers((None, "1")))
    world.accounts[0]["partner_id"] = "agent"
    world.cost("telco.minutes", tiers((None, "0.1")), "telco").share("usage", "0.5", of="margin").share("seat", "0.2")
    office = Office(tmp_path / "parties", world)
    office.rate(used("a", "8"), used("b", "16"), used("c", "8", "beta-1"))
    office.bill(OCTOBER)
    lines = explained_lines(office.ledger, "INV-2026-000001")
    number = dict(lines.select("price_id", "line").iter_rows())
    told = explain(office.workspace, "INV-2026-000001", number["usage"], limit=1)
    assert told.parties.select("event_id", "role", "partner_id", "price_id", "after_quantity", "amount").rows() == [
        ("a", "cost", "telco", "telco.minutes", 8, Decimal("0.8")),
        ("a", "share", "agent", "telco.minutes", 8, Decimal("-0.4")),
        ("a", "share", "agent", "usage", 8, Decimal("0.5")),
    ]
    assert [title for title, _ in told.sections()][4] == "What partners and carriers get of them"
    other = explain(office.workspace, "INV-2026-000001", number["extra"])
    assert other.parties.filter(role="cost").select("event_id", "amount").rows() == [
        ("a", Decimal("0.8")),
        ("b", Decimal("1.6")),
    ]
    assert set(other.parties["price_id"]) == {"telco.minutes"}
    fee = explain(office.workspace, "INV-2026-000001", number["seat"])
    assert fee.parties.select("role", "price_id", "amount").rows() == [("share", "seat", Decimal(62))]


def test_an_unknown_invoice_or_line_is_named(office: Office) -> None:
    with pytest.raises(NoSuchInvoice, match="no invoice INV-2026-000099"):
        explain(office.workspace, "INV-2026-000099", 1)
    with pytest.raises(NoSuchInvoice, match="no line 7 of invoice INV-2026-000001"):
        explain(office.workspace, "INV-2026-000001", 7)
    with pytest.raises(NoSuchInvoice, match="no invoice INV-2026-000099"):
        explained_lines(office.ledger, "INV-2026-000099")
    assert explained_lines(office.ledger, "INV-2026-000001")["line"].to_list() == [1]
