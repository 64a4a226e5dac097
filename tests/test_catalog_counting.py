"""Over whose usage a price counts, and hierarchies of accounts: what is written, and what is refused with its place."""

# ruff: noqa: E501 - the tables hold whole messages

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalog.book_source import read_book
from catalog.roster_source import read_roster
from catalog.versions import publish_book
from schemas.book import Book
from schemas.errors import BadCatalog, Refused
from schemas.roster import Roster

BOOK = """\
currency: CNY
taxes: [{country: CN, rate: 6%, valid_from: 2020-01-01}]
meters:
  - {id: minutes, event_type: ended, aggregation: AGGREGATION, property: minutes, unit: minute, dimensions: [region, type]}
plans:
  - id: pro
    name: Pro
    prices:
      - id: pro.minutes
        name: Minutes
        meter: minutes
        versions:
          - {valid_from: 2026-01-01, TERMS}
"""
PLAIN = "model: per_unit, unit_price: 1"


def book(folder: Path, terms: str = PLAIN, aggregation: str = "sum") -> Book:
    (folder / "catalog").mkdir(exist_ok=True)
    text = BOOK.replace("TERMS", terms).replace("AGGREGATION", aggregation)
    (folder / "catalog" / "book.yaml").write_text(text)
    return read_book(folder / "catalog")


def roster(folder: Path, *accounts: str, subscriptions: str = "[]", overrides: str = "[]") -> Roster:
    (folder / "roster").mkdir(exist_ok=True)
    listed = "\n".join(f"  - {{{entry}, name: N, country: CN}}" for entry in accounts)
    (folder / "roster" / "r.yaml").write_text(f"accounts:\n{listed}\nsubscriptions: {subscriptions}\noverrides: {overrides}\n")
    return read_roster(folder / "roster", book(folder))


def mistakes(error: pytest.ExceptionInfo[BadCatalog]) -> list[str]:
    return [re.sub(r"^.*/(?=(?:book|r)\.yaml:)", "", problem) for problem in error.value.problems]


def test_a_price_counts_over_a_subscription_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert book(tmp_path).prices["counted_over"].to_list() == ["subscription"]
    for over in ("subscription", "account", "group"):
        assert book(tmp_path, f"{PLAIN}, counted_over: {over}").prices["counted_over"].to_list() == [over]


def test_own_terms_say_themselves_over_what_they_count(tmp_path: Path) -> None:
    sub = "[{id: s, account: a, plan: pro, from: 2026-01-01}]"
    terms = "{model: per_unit, unit_price: 1, included: 5, counted_over: account}"
    over = f"[{{account: a, price: pro.minutes, valid_from: 2026-01-01, terms: {terms}}}]"
    made = roster(tmp_path, "id: a, currency: CNY, zone: UTC", subscriptions=sub, overrides=over)
    assert made.prices["counted_over"].to_list() == ["account"]


@pytest.mark.parametrize(
    ("aggregation", "terms", "said"),
    [
        ("sum", "counted_over: pool", "13:84: plans.0.prices.0.versions.0.counted_over: 'pool' is none of subscription, account, group"),
        ("latest", "counted_over: account", "13:84: plans.0.prices.0.versions.0.counted_over: is account, but latest is the state of one thing; count it per subscription, or use a sum or max"),
        ("time_average", "counted_over: group", "13:84: plans.0.prices.0.versions.0.counted_over: is group, but time_average is the state of one thing; count it per subscription, or use a sum or max"),
        ("sum", "within: week", "13:78: plans.0.prices.0.versions.0.within: 'week' is none of hour, day"),
        ("peak", "within: hour", "13:78: plans.0.prices.0.versions.0.within: is hour, but peak goes on from one to the next; only sum, count, max, min, unique begin anew"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_together_is_refused(tmp_path: Path, aggregation: str, terms: str, said: str) -> None:
    with pytest.raises(BadCatalog) as error:
        book(tmp_path, f"{PLAIN}, {terms}", aggregation)
    assert mistakes(error) == [f"book.yaml:{said}"]


def test_a_price_within_days_has_no_fee_at_zero_usage(tmp_path: Path) -> None:
    terms = "model: graduated, within: day, flat_at_zero: true, tiers: [{unit_price: 1, flat: 5}]"
    with pytest.raises(BadCatalog, match="flat_at_zero: is for a whole usage period"):
        book(tmp_path, terms)


def test_a_published_price_cannot_be_counted_otherwise(tmp_path: Path) -> None:
    publish_book(book(tmp_path), tmp_path / "books")
    with pytest.raises(Refused, match=r"counted over subscription.* -> .*counted over account"):
        publish_book(book(tmp_path, f"{PLAIN}, counted_over: account"), tmp_path / "books")


ROOT = "id: root, currency: CNY, zone: Asia/Shanghai, billing_day: 5"
BELOW = "currency: CNY, zone: Asia/Shanghai, billing_day: 5"


def test_a_parent_is_on_the_roster(tmp_path: Path) -> None:
    made = roster(tmp_path, ROOT, f"id: a, parent: root, {BELOW}", f"id: b, parent: a, {BELOW}")
    assert made.accounts.select("account_id", "parent_id").rows() == [("a", "root"), ("b", "a"), ("root", None)]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([ROOT, f"id: a, parent: rot, {BELOW}"], ["3:21: accounts.1.parent: there is no account 'rot'; did you mean 'root'?"]),
        ([f"id: a, parent: a, {BELOW}"], ["2:21: accounts.0.parent: 'a' is below 'a', so the pool would refer to itself; name an account above it"]),
        ([f"id: a, parent: c, {BELOW}", f"id: b, parent: a, {BELOW}", f"id: c, parent: b, {BELOW}", f"id: d, parent: a, {BELOW}"], [
            "2:21: accounts.0.parent: 'c' is below 'a', so the pool would refer to itself; name an account above it",
            "3:21: accounts.1.parent: 'a' is below 'b', so the pool would refer to itself; name an account above it",
            "4:21: accounts.2.parent: 'b' is below 'c', so the pool would refer to itself; name an account above it",
        ]),
        ([ROOT, "id: a, parent: root, currency: EUR, zone: UTC", f"id: b, parent: a, {BELOW}"], [
            "3:21: accounts.1.parent: 'root' at the top of the group has the billing_day 5, this account 1; a group has one",
            "3:21: accounts.1.parent: 'root' at the top of the group has the currency CNY, this account EUR; a group has one",
            "3:21: accounts.1.parent: 'root' at the top of the group has the zone Asia/Shanghai, this account UTC; a group has one",
        ]),
    ],
    ids=["unknown", "itself", "a circle", "another clock"],
)  # fmt: skip
def test_a_hierarchy_that_cannot_be_is_refused(tmp_path: Path, entries: list[str], said: list[str]) -> None:
    with pytest.raises(BadCatalog) as error:
        roster(tmp_path, *entries)
    assert mistakes(error) == [f"r.yaml:{text}" for text in said]


@pytest.mark.parametrize("name", ["account:acme", "group:acme"])
def test_a_subscription_cannot_be_called_like_a_shared_total(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadCatalog, match=f"'{name}' begins with {name[:-5]}:, which names a shared total; choose another"):
        roster(tmp_path, ROOT, subscriptions=f"[{{id: '{name}', account: root, plan: pro, from: 2026-01-01}}]")
