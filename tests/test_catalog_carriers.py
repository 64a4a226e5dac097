"""A carrier's tariff in the price book: read like a plan's prices, refused with a place, compared and frozen like them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from catalog.book_source import read_book
from catalog.diff import diff_books
from catalog.roster_source import read_roster
from catalog.versions import publish_book
from pipelines.catalog_test import run_workspace_examples
from pipelines.workspace import Workspace
from schemas.errors import BadCatalog, Refused

BOOK = """\
currency: CNY
meters:
  - {id: voice, event_type: call.ended, aggregation: sum, property: seconds, unit: second, dimensions: [route]}
  - {id: calls, event_type: call.ended, aggregation: count, unit: call}
plans:
  - id: pro
    name: Pro
    prices:
      - {id: pro.voice, name: V, meter: voice, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.01}]}
taxes:
  - {country: CN, rate: 6%, valid_from: 2020-01-01}
agreements:
  - {id: a1, partner: p1, share: 20%, plans: [pro], valid_from: 2026-01-01}
carriers:
  - id: telco
    name: {en: Telco, zh: 电信}
    currency: USD
    prices:
      - id: telco.voice
        name: V
        meter: voice
        where: {route: a}
        versions:
          - {valid_from: 2026-01-01, model: per_unit, unit_price: 0.004}
          - {valid_from: 2026-07-01, model: package, package_size: 60, price: 0.2}
      - {id: telco.calls, name: C, meter: calls, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.001}]}
"""

ROSTER = """\
accounts:
  - {id: acme, name: Acme, country: CN, currency: CNY, language: en, zone: Asia/Shanghai, partner: p1}
partners:
  - {id: p1, name: P1}
subscriptions:
  - {id: acme-1, account: acme, plan: pro, from: 2026-01-01}
"""

MISTAKES: list[tuple[str, str, str, str]] = [
    ("a fee", "        meter: voice\n", "        recurring: month\n", "carriers.0.prices.0.recurring: is no known key here"),
    (
        "a tax class",
        "        name: V\n",
        "        name: V\n        tax_class: reduced\n",
        "prices.0.tax_class: is no known key",
    ),
    (
        "a tax class of a version",
        "unit_price: 0.004}",
        "unit_price: 0.004, tax_class: x}",
        "versions.0.tax_class: is for invoices; a carrier's price is on none, remove it",
    ),
    (
        "a fee without usage",
        "model: per_unit, unit_price: 0.004}",
        "model: graduated, flat_at_zero: true, tiers: [{flat: 1}]}",
        "versions.0.flat_at_zero: is for a price of a plan; a carrier's price is due with its events",
    ),
    ("an unknown meter", "meter: calls,", "meter: callz,", "carriers.0.prices.1.meter: there is no meter 'callz'"),
    ("an unknown dimension", "route: a", "rote: a", "where.rote: 'rote' is no dimension of the meter; did you mean 'route'?"),
    (
        "versions that overlap",
        "2026-07-01,",
        "2025-07-01,",
        "2025-07-01 is not after 2026-01-01 of the version before; order versions by valid_from",
    ),
    (
        "two currencies",
        "        meter: voice\n",
        "        meter: voice\n        currency: EUR\n",
        "EUR, but another price of this carrier is in USD; a carrier has one currency",
    ),
    ("a price id of a plan", "id: telco.calls", "id: pro.voice", "there is another price 'pro.voice' in"),
    (
        "a carrier twice",
        "carriers:\n",
        "carriers:\n  - {id: telco, name: T, prices: []}\n",
        "there is another carrier 'telco' in",
    ),
    ("no price", "carriers:\n", "carriers:\n  - {id: other, name: T}\n", "has no price; list at least one under 'prices:'"),
    ("an agreement over it", "plans: [pro]", "prices: [telco.voice]", "there is no price 'telco.voice'"),
]


def read_text(folder: Path, text: str) -> list[str]:
    """The mistakes in it."""
    folder.mkdir(exist_ok=True)
    (folder / "book.yaml").write_text(text, encoding="utf-8")
    try:
        read_book(folder)
    except BadCatalog as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    ("old", "new", "said"), [mistake[1:] for mistake in MISTAKES], ids=[mistake[0] for mistake in MISTAKES]
)
def test_a_mistake_in_a_tariff_is_said_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in BOOK
    problems = read_text(tmp_path / "book", BOOK.replace(old, new, 1))
    assert any(said in problem for problem in problems), problems


def test_a_tariff_is_a_carrier_and_prices_without_a_plan_or_tax(tmp_path: Path) -> None:
    assert read_text(tmp_path / "book", BOOK) == []
    book = read_book(tmp_path / "book")
    assert book.carriers.rows() == [("telco", "Telco", "电信")]
    costs = (
        book.prices.filter(carrier_id="telco").select("price_id", "price_version", "plan_id", "tax_class", "currency").rows()
    )
    assert costs == [
        ("telco.calls", "2026-01-01", None, None, "USD"),
        ("telco.voice", "2026-01-01", None, None, "USD"),
        ("telco.voice", "2026-07-01", None, None, "USD"),
    ]
    assert book.agreements["price_id"].to_list() == ["pro.voice"]


def test_a_tariff_is_compared_and_what_is_published_of_it_stays(tmp_path: Path) -> None:
    read_text(tmp_path / "book", BOOK)
    book = read_book(tmp_path / "book")
    publish_book(book, tmp_path / "store")
    read_text(tmp_path / "book", BOOK.replace("0.004", "0.005").replace("en: Telco", "en: Telco One"))
    changed = read_book(tmp_path / "book")
    assert diff_books(book, changed).select("what", "id", "before", "after").rows() == [
        ("carrier", "telco", "name en Telco", "name en Telco One"),
        ("tier", "telco.voice tier 0", "unit price 0.004", "unit price 0.005"),
    ]
    with pytest.raises(Refused, match=r"telco\.voice version 2026-01-01"):
        publish_book(changed, tmp_path / "store")


def test_a_tariff_is_not_negotiated_with_customers(tmp_path: Path) -> None:
    read_text(tmp_path / "book", BOOK)
    (tmp_path / "roster").mkdir()
    own = "overrides:\n  - {account: acme, price: telco.voice, valid_from: 2026-01-01, discount: 10%}\n"
    (tmp_path / "roster" / "roster.yaml").write_text(ROSTER + own, encoding="utf-8")
    with pytest.raises(BadCatalog, match=r"there is no price 'telco\.voice' in the price book"):
        read_roster(tmp_path / "roster", read_book(tmp_path / "book"))


EXAMPLE = (
    "examples:\n  - {{name: e, plan: pro, at: 2026-08-01, usage: [{{meter: voice, quantity: 61, data: {{route: a}}}}], {0}}}\n"
)


def results(tmp_path: Path, expected: str) -> list[tuple[object, ...]]:
    workspace = Workspace.create(tmp_path / "w", "video-conference", "2026-10")
    for folder in (workspace.catalog_folder, workspace.roster_folder):
        for path in folder.iterdir():
            path.unlink()
    (workspace.catalog_folder / "book.yaml").write_text(BOOK + EXAMPLE.format(expected), encoding="utf-8")
    (workspace.roster_folder / "roster.yaml").write_text(ROSTER, encoding="utf-8")
    return run_workspace_examples(workspace).results.select("result", "price", "expected", "found").rows()


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("expect_cost: {telco: 0.401}", [("passed", "cost: telco", "0.401", "0.401")]),
        (
            "expect_cost: {telco.voice: 0.5, telco.calls: 0.001}",
            [("failed", "cost: telco.voice", "0.5", "0.4"), ("passed", "cost: telco.calls", "0.001", "0.001")],
        ),
        (
            "expect_cost: {telco.voice: 0.4}",
            [("passed", "cost: telco.voice", "0.4", "0.4"), ("failed", "cost: telco.calls", "0", "0.001")],
        ),
        ("partner: p1, expect_share: {p1: 0.122}", [("passed", "share: p1", "0.122", "0.122")]),
        ("account: acme, expect_share: {pro.voice: 0.122}", [("passed", "share: pro.voice", "0.122", "0.122")]),
    ],
)
def test_an_example_says_what_carriers_and_partners_get(
    tmp_path: Path, expected: str, found: list[tuple[str, str, str, str]]
) -> None:
    assert results(tmp_path, expected) == [(*row[:2], Decimal(row[2]), Decimal(row[3])) for row in found]


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("expect_cost: {telko: 1}", "expect_cost.telko: there is no party or price 'telko' here; did you mean 'telco'?"),
        ("expect_share: {p1: 1}", "expect_share: is nobody's; name a 'partner:', or an account that has one"),
        ("partner: p2, expect_share: {p1: 1}", "partner: there is no partner 'p2'"),
    ],
)
def test_an_example_that_expects_of_strangers_is_refused(tmp_path: Path, expected: str, said: str) -> None:
    with pytest.raises(BadCatalog, match=said.replace("?", r"\?")):
        results(tmp_path, expected)
