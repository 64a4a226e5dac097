"""The cases of tests/vectors about rounding: what a currency's minor unit does to an amount, and to the lines of an invoice."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.money import round_money
from tests.billing_world import OCTOBER, Office
from tests.rating_world import World, event, tiers
from tests.vector_cases import Case, cases_of

MONEY_MODELS = {"rounding", "sum_of_rounded_lines", "tax"}


@pytest.mark.parametrize("case", cases_of({"rounding"}), ids=lambda case: case["id"])
def test_an_amount_is_rounded_half_up_to_the_minor_unit(case: Case) -> None:
    exact = case["quantities"][0] if "quantities" in case else re.findall(r"F\('([\d.]+)'\)", case["check"])[0]
    assert round_money(Decimal(exact), case["currency"]) == Decimal(case["expected"]["amount"])


@pytest.mark.parametrize("case", cases_of({"sum_of_rounded_lines"}), ids=lambda case: case["id"])
def test_an_invoice_is_the_sum_of_its_rounded_lines(case: Case, tmp_path: Path) -> None:
    """As the peer does, so the asserted amount counts and not the exact one."""
    written = [re.fullmatch(r"([\d.]+)(?: x (\d+))?", text) for text in case["quantities"]]
    prices = [found[1] for found in written if found is not None for _ in range(int(found[2] or 1))]
    world = World().meter().account(currency=case["currency"], name="Acme").subscription()
    for number, price in enumerate(prices):
        world.price(f"line{number:03}", tiers((None, price)), currency=case["currency"])
    office = Office(tmp_path / "office", world)
    office.rate(event("a", "1"))
    office.bill(OCTOBER)
    lines = office.lines(OCTOBER)
    assert lines.height == len(prices)
    assert lines["exact_amount"].sum() == Decimal(case["expected"]["exact_amount"])
    invoice = office.ledger.invoices.scan().collect()
    assert invoice["net_amount"][0] == Decimal(case["expected"]["amount"])


@pytest.mark.parametrize("case", cases_of({"tax"}), ids=lambda case: case["id"])
def test_tax_is_that_of_each_class_on_the_sum_of_its_lines(case: Case, tmp_path: Path) -> None:
    """The formula says bases and rates: `15000*F(20,100)+8000*F(5,100)`. Several taxes on one line are one rate, their sum."""
    groups = re.findall(r"(\d+)\*F\((\d+),100\)", case["check"])
    assert "+".join(f"{base}*F({rate},100)" for base, rate in groups) == case["check"]
    world = World().meter().account(name="Acme").subscription()
    for base, rate in groups:
        world.price(f"at{rate}", tiers((None, str(Decimal(base) / 100))), tax_class=f"at{rate}")
    office = Office(tmp_path / "office", world, taxes={f"at{rate}": str(Decimal(rate) / 100) for _, rate in groups})
    office.rate(event("a", "1"))
    office.bill(OCTOBER)
    invoice = office.ledger.invoices.scan().collect()
    assert invoice["tax_amount"][0] * 100 == Decimal(case["expected"]["amount"])
