"""Floors, commitments, caps and pools in the files of book and roster: what they become, every mistake with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from catalog.book_source import read_book
from catalog.diff import diff_books
from catalog.roster_source import read_roster
from catalog.versions import publish_book
from schemas.book import Book
from schemas.errors import BadCatalog, Refused
from tests.rating_world import instant

BOOK = """\
currency: CNY
meters:
  - {id: video, event_type: v, aggregation: sum, property: v, unit: minute, scale: 2}
  - {id: phone, event_type: p, aggregation: sum, property: p, unit: minute, scale: 2}
  - {id: space, event_type: s, aggregation: sum, property: s, unit: GB}
plans:
  - id: pro
    name: Pro
    prices:
      - {id: video, name: Video, meter: video, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 1}]}
      - {id: phone, name: Phone, meter: phone, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 1}]}
      - {id: space, name: Space, meter: space, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 1}]}
      - {id: calls, name: Calls, meter: phone, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 1, fixed: 1}]}
      - {id: fee, name: Fee, recurring: month, versions: [{valid_from: 2026-01-01, fee: 10}]}
  - id: side
    name: Side
    prices: [{id: side.phone, name: P, meter: phone, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 1}]}]
taxes: [{country: CN, rate: 6%, valid_from: 2020-01-01}]
"""
ROSTER = """\
accounts: [{id: acme, name: Acme, country: CN, currency: CNY, zone: Asia/Shanghai, billing_day: 5}]
subscriptions: [{id: acme-1, account: acme, plan: pro, from: 2026-01-01}]
"""
FROM = "name: L, valid_from: 2026-01-01"
PLAN = f"id: l, plan: pro, {FROM}"
ACME = f"id: l, account: acme, {FROM}"


def book_of(folder: Path, text: str = "") -> Book:
    (folder / "catalog").mkdir(exist_ok=True, parents=True)
    (folder / "catalog" / "book.yaml").write_text(BOOK)
    if text:
        (folder / "catalog" / "limits.yaml").write_text(text)
    return read_book(folder / "catalog")


def mistakes(folder: Path, *, book: str = "", roster: str = "") -> list[str]:
    """What is said of these sections, without the file's name."""
    try:
        found = book_of(folder, book)
        (folder / "roster").mkdir()
        (folder / "roster" / "customers.yaml").write_text(ROSTER)
        (folder / "roster" / "limits.yaml").write_text(roster or "pools: []\n")
        read_roster(folder / "roster", found)
    except BadCatalog as error:
        return [problem.partition("limits.yaml:")[2] for problem in error.problems]
    return []


def test_limits_of_the_book_become_rows_with_plans_written_out(tmp_path: Path) -> None:
    text = f"""\
commitments: [{{{PLAN}, amount: 100, covers: [pro], overage_factor: 1.5}}]
pools: [{{id: p, plan: pro, {FROM}, units: 10.25, per: licence, covers: [phone, video], roll_over: {{periods: 2, up_to: 5}}}}]
"""
    rows = book_of(tmp_path, text).limits.rows(named=True)
    assert [(row["kind"], row["covers"], row["amount"], row["units"]) for row in rows] == [
        ("commitment", ["video", "phone", "space", "calls"], Decimal(100), None),
        ("pool", ["phone", "video"], None, Decimal("10.25")),
    ]
    assert rows[0]["true_up"]
    assert rows[0]["overage_factor"] == Decimal("1.5")
    assert (rows[1]["priority"], rows[1]["per_licence"], rows[1]["roll_over_periods"], rows[1]["prorated"]) == (
        100,
        True,
        2,
        True,
    )


def test_limits_of_a_customer_are_in_its_currency_and_zone(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    (tmp_path / "roster").mkdir()
    (tmp_path / "roster" / "all.yaml").write_text(
        ROSTER + "caps: [{id: c, account: acme, name: {en: Most, zh: 上限}, amount: 500, fees: true, valid_from: 2026-02-01}]\n"
    )
    row = read_roster(tmp_path / "roster", book).limits.row(0, named=True)
    assert (row["account_id"], row["subscription_id"], row["covers"], row["fees"]) == ("acme", None, None, True)
    assert (row["currency"], row["name_zh"], row["valid_from"]) == ("CNY", "上限", instant("2026-01-31T16:00:00"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"caps: [{{id: l, {FROM}, amount: 5}}]", "caps.0.plan: is missing; say whose limit it is"),
        (f"caps: [{{{ACME}, amount: 5}}]", "caps.0.account: stands in the roster; a limit of the price book is for a 'plan'"),
        (f"caps: [{{id: l, plan: prp, {FROM}, amount: 5}}]", "there is no plan 'prp'; did you mean 'pro'?"),
        (
            f"caps: [{{id: video, plan: pro, {FROM}, amount: 5}}]",
            "id: there is a price 'video'; limits and prices have different",
        ),
        (f"caps: [{{{PLAN}, amount: 5}}, {{{PLAN}, amount: 6}}]", "caps.1.id: there is another limit 'l' in"),
        (f"caps: [{{{PLAN}, amount: 0}}]", "amount: is 0; write how much it is"),
        (f"caps: [{{{PLAN}, amount: 5, valid_to: 2025-01-01}}]", "valid_to: 2025-01-01 is not after valid_from 2026-01-01"),
        (
            f"caps: [{{{PLAN}, amount: 5, covers: [vidoe]}}]",
            "covers.0: there is no price or plan 'vidoe'; did you mean 'video'?",
        ),
        (f"caps: [{{{PLAN}, amount: 5, covers: [fee]}}]", "covers.0: 'fee' is a recurring fee; say 'fees: true' or remove it"),
        (f"caps: [{{{PLAN}, amount: 5, tax_class: food}}]", "tax_class: tax class 'food' has no rate under 'taxes:'"),
        (f"caps: [{{{PLAN}, amount: 5, over: term, valid_to: 2027-01-01}}]", "over: a plan has no term; write a commitment"),
        (f"caps: [{{{PLAN}, amount: 5, floor: 1}}]", "caps.0.floor: is no known key here"),
        (
            f"commitments: [{{{PLAN}, amount: 5, true_up: false}}]",
            "does nothing; with 'true_up: false' it needs an 'overage_factor'",
        ),
        (f"caps: [{{{PLAN}, amount: 5, spent: 3}}]", "spent: is of a term; say 'over: term' or remove it"),
        (f"commitments: [{{{PLAN}, amount: 5, overage_factor: 1}}]", "overage_factor: 1 should be a factor other than 1"),
        (f"commitments: [{{{PLAN}, amount: 5, overage_factor: 101}}]", "overage_factor: 101 should be a factor other than 1"),
        (f"pools: [{{{PLAN}, covers: [video]}}]", "pools.0: needs either 'units' or 'amount' (money)"),
        (f"pools: [{{{PLAN}, units: 5}}]", "covers: is missing; name the prices whose units are in the pool"),
        (f"pools: [{{{PLAN}, units: 0, covers: [video]}}]", "units: is 0; write how much is in the pool"),
        (f"pools: [{{{PLAN}, units: 5.125, covers: [video]}}]", "units: 5.125 has 3 decimals; the meter counts 2"),
        (f"pools: [{{{PLAN}, units: 5, covers: [video, space]}}]", "covers: is in GB with 0 decimals, minute with 2 decimals"),
        (f"pools: [{{{PLAN}, units: 5, covers: [calls]}}]", "covers: 'calls' is not priced by the total of a unit"),
        (f"pools: [{{{PLAN}, units: 5, fees: true, covers: [fee]}}]", "fees: does not belong to a pool of units"),
        (f"pools: [{{{PLAN}, units: 5, covers: [l]}}]", "covers.0: there is no price or plan 'l'"),
        (
            f"pools: [{{{PLAN}, units: 5, covers: [video]}}, {{id: m, plan: pro, {FROM}, units: 5, covers: [phone, video]}}]",
            "pools.1.priority: 100 is that of pool 'l' too",
        ),
        (
            f"pools: [{{{PLAN}, amount: 5}}, {{id: m, plan: pro, {FROM}, amount: 5, covers: [video]}}]",
            "and both cover video; the lower number is used first",
        ),
        (f"pools: [{{{PLAN}, units: 5, covers: [video], roll_over: {{periods: 0}}}}]", "periods: 0 is less than 1"),
    ],
)
def test_a_mistake_in_a_limit_of_the_book_is_named(tmp_path: Path, text: str, said: str) -> None:
    (found,) = mistakes(tmp_path, book=text)
    assert said in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"caps: [{{{PLAN}, account: acme, amount: 5}}]",
            "caps.0.plan: stands in the price book; a limit of the roster is for",
        ),
        (f"caps: [{{id: l, {FROM}, amount: 5}}]", "caps.0: needs either 'account' or 'subscription'"),
        (f"caps: [{{id: l, account: acne, {FROM}, amount: 5}}]", "account: there is no account 'acne'; did you mean 'acme'?"),
        (f"caps: [{{id: l, subscription: acme, {FROM}, amount: 5}}]", "subscription: there is no subscription 'acme'"),
        (f"caps: [{{{ACME}, amount: 5, over: term}}]", "valid_to: is missing; an amount over a term needs the day"),
        (
            f"caps: [{{{ACME}, amount: 5, over: term, valid_to: 2027-01-05}}]",
            "valid_from: 2026-01-01 is not the start of a usage period; a term begins and ends on day 5 of a month",
        ),
        (
            "caps: [{id: l, account: acme, name: L, amount: 5, over: term, prorate: true, "
            "valid_from: 2026-01-05, valid_to: 2027-01-05}]",
            "prorate: does not belong to an amount over a term, which is due whole",
        ),
        (
            f"caps: [{{{ACME}, amount: 5, covers: [side.phone]}}]",
            "'side.phone' is of plan 'side', which account 'acme' does not hold",
        ),
        (
            f"caps: [{{id: l, subscription: acme-1, {FROM}, amount: 5, covers: [side]}}]",
            "covers.0: 'side' is of plan 'side', which subscription 'acme-1' does not hold",
        ),
        (f"pools: [{{{ACME}, amount: 5, per: licence}}]", "per: only a pool of a plan knows how many licences there are"),
        (
            f"commitments: [{{{ACME}, amount: 9}}]\ncaps: [{{id: c, account: acme, {FROM}, amount: 8}}]",
            "caps.0.amount: the cap 'c' is less than the commitment 'l'",
        ),
    ],
)
def test_a_mistake_in_a_limit_of_a_customer_is_named(tmp_path: Path, text: str, said: str) -> None:
    (found,) = mistakes(tmp_path, roster=text)
    assert said in found


def test_a_pool_of_a_customer_may_not_stand_at_the_place_of_one_of_the_book(tmp_path: Path) -> None:
    book = f"pools: [{{{PLAN}, units: 5, covers: [video]}}]"
    roster = f"pools: [{{id: mine, account: acme, {FROM}, units: 5, covers: [video], priority: 100}}]"
    (found,) = mistakes(tmp_path, book=book, roster=roster)
    assert "priority: 100 is that of pool 'l' too (the price book), and both cover video" in found


def test_a_pool_of_a_customer_without_a_priority_comes_after_that_of_its_plan(tmp_path: Path) -> None:
    book = f"pools: [{{{PLAN}, units: 5, covers: [video]}}]"
    assert (
        mistakes(tmp_path, book=book, roster=f"pools: [{{id: mine, account: acme, {FROM}, units: 5, covers: [video]}}]") == []
    )


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ("prorate: false", "prorate: says how the floor of a part of a period is found, but there is no 'floor'"),
        ("cap: 5, floor: 6", "floor: 6 is more than the cap 5"),
    ],
)
def test_a_mistake_in_a_floor_is_named(tmp_path: Path, terms: str, said: str) -> None:
    price = f"{{id: x, name: X, meter: video, versions: [{{valid_from: 2026-01-01, model: per_unit, unit_price: 1, {terms}}}]}}"
    (found,) = mistakes(tmp_path, book=f"plans: [{{id: other, name: O, prices: [{price}]}}]")
    assert said in found


def test_a_published_limit_may_end_and_be_renamed_but_not_change(tmp_path: Path) -> None:
    published = publish_book(book_of(tmp_path, f"caps: [{{{PLAN}, amount: 5}}]"), tmp_path / "books")
    ended = book_of(tmp_path, "caps: [{id: l, plan: pro, name: New, valid_from: 2026-01-01, valid_to: 2026-06-01, amount: 5}]")
    assert publish_book(ended, tmp_path / "books").version == 2
    changes = diff_books(published, ended)
    assert [(what, name) for what, name in changes.select("what", "id").unique().rows()] == [("limit", "l")]
    with pytest.raises(Refused, match="limit l: amount 5 -> amount 6"):
        publish_book(book_of(tmp_path, f"caps: [{{{PLAN}, amount: 6}}]"), tmp_path / "books")
