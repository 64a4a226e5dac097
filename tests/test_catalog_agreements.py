"""What partners were promised, read strictly: one way to share, bounds that rise, units that multiply exactly."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from catalog.book_source import read_book
from catalog.diff import diff_books
from tests.test_catalog_carriers import BOOK, read_text

AGREEMENT = "share: 20%, plans: [pro]"
FEE = "      - {id: pro.fee, name: F, recurring: month, versions: [{valid_from: 2026-01-01, fee: 5}]}\n"
COUNT = "      - {id: pro.calls, name: K, meter: calls, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 1}]}\n"
FINE = """  - {id: kilos, event_type: call.ended, aggregation: sum, property: kilos, unit: kg, scale: 9}
"""

MISTAKES: list[tuple[str, str, str]] = [
    ("nothing is due", "plans: [pro]", "agreements.0: says nothing of what is due; give exactly one of share, tiers, per_unit"),
    ("two ways", "share: 1%, per_unit: 1, plans: [pro]", "agreements.0: has share and per_unit; give exactly one of"),
    ("no kind of part", "share: 1%, of: net, plans: [pro]", "agreements.0.of: 'net' is none of gross, margin"),
    (
        "tiers of the margin",
        "tiers: [{share: 1%}], of: margin, plans: [pro]",
        "agreements.0.of: is margin, which only a 'share' can be of",
    ),
    ("an amount of the margin", "per_unit: 1, of: margin, plans: [pro]", "agreements.0.of: is margin, which only a 'share'"),
    ("a negative amount", "per_unit: -1, plans: [pro]", "agreements.0.per_unit: -1 is negative"),
    ("no tier", "tiers: [], plans: [pro]", "agreements.0.tiers"),
    (
        "tiers that overlap",
        "tiers: [{up_to: 10, share: 1%}, {up_to: 9, share: 2%}, {share: 3%}], plans: [pro]",
        "agreements.0.tiers.1.up_to: 9 is not above 10, where the tier starts; order tiers by up_to",
    ),
    (
        "a bounded last tier",
        "tiers: [{up_to: 10, share: 1%}], plans: [pro]",
        "agreements.0.tiers.0.up_to: bounds the last tier; leave it out, so that all revenue has a share",
    ),
    (
        "a tier without a bound",
        "tiers: [{share: 1%}, {share: 2%}], plans: [pro]",
        "agreements.0.tiers.0.up_to: is missing; only the last tier is without an upper bound",
    ),
    (
        "a bound too fine",
        "tiers: [{up_to: 0.0000000000001, share: 1%}, {share: 2%}], plans: [pro]",
        "agreements.0.tiers.0.up_to: has 13 decimals; a bound takes at most 12",
    ),
    ("a share of a tier that is none", "tiers: [{share: 0.1}], plans: [pro]", "tiers.0.share: '0.1' is no percentage"),
]


@pytest.mark.parametrize(("terms", "said"), [mistake[1:] for mistake in MISTAKES], ids=[mistake[0] for mistake in MISTAKES])
def test_a_mistake_in_an_agreement_is_said_with_its_place(tmp_path: Path, terms: str, said: str) -> None:
    problems = read_text(tmp_path / "book", BOOK.replace(AGREEMENT, terms))
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            FEE,
            "agreements.0.per_unit: is for units, and 'pro.fee' is a fee without any; list the prices of usage under 'prices'",
        ),
        (
            COUNT,
            "agreements.0.per_unit: is for prices of one meter, and these are of calls and voice; make an agreement for each",
        ),
    ],
)
def test_an_amount_per_unit_is_for_one_meter_and_no_fee(tmp_path: Path, more: str, said: str) -> None:
    text = BOOK.replace(AGREEMENT, "per_unit: 0.001, plans: [pro]").replace("taxes:\n", more + "taxes:\n")
    problems = read_text(tmp_path / "book", text)
    assert len(problems) == 1
    assert said in problems[0]


def test_an_amount_per_unit_is_no_finer_than_its_meter_leaves_room_for(tmp_path: Path) -> None:
    text = BOOK.replace("plans:\n  - id: pro", FINE + "plans:\n  - id: pro").replace(
        "meter: voice, versions", "meter: kilos, versions"
    )
    assert read_text(tmp_path / "fine", text.replace(AGREEMENT, "per_unit: 0.000000001, plans: [pro]")) == []
    (problem,) = read_text(tmp_path / "finer", text.replace(AGREEMENT, "per_unit: 0.0000000001, plans: [pro]"))
    assert "per_unit: has 10 decimals; the meter of 'pro.voice' counts 9, so an amount at most 9" in problem


def test_what_changes_in_an_agreement_is_told(tmp_path: Path) -> None:
    read_text(tmp_path / "book", BOOK.replace(AGREEMENT, "tiers: [{up_to: 10, share: 1%}, {share: 2%}], plans: [pro]"))
    old = read_book(tmp_path / "book")
    assert old.agreement_tiers.rows() == [
        ("a1", 0, Decimal(0), Decimal(10), Decimal("0.01")),
        ("a1", 1, Decimal(10), None, Decimal("0.02")),
    ]
    read_text(tmp_path / "book", BOOK.replace(AGREEMENT, "tiers: [{up_to: 10, share: 1%}, {share: 3%}], plans: [pro]"))
    assert diff_books(old, read_book(tmp_path / "book")).select("what", "id", "before", "after").rows() == [
        ("agreement tier", "a1 tier 1", "share 0.02", "share 0.03")
    ]
    read_text(tmp_path / "book", BOOK.replace(AGREEMENT, "share: 5%, of: margin, plans: [pro]"))
    told = diff_books(old, read_book(tmp_path / "book"))
    assert set(told.filter(what="agreement")["after"]) == {"share 0.05", "of margin"}
