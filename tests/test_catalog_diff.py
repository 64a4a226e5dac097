"""What changed between two versions, one readable row per change."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.book_source import read_book
from catalog.diff import diff_books, diff_rosters
from catalog.roster_source import read_roster
from catalog.templates import copy_template
from schemas.book import Book
from schemas.roster import Roster


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    copy_template("video-conference", tmp_path / "w")
    return tmp_path / "w"


def edited(workspace: Path, file: str, right: str, wrong: str) -> tuple[Book, Roster]:
    path = workspace / file
    assert right in path.read_text()
    path.write_text(path.read_text().replace(right, wrong, 1))
    book = read_book(workspace / "catalog")
    return book, read_roster(workspace / "roster", book)


def test_equal_books_and_rosters_have_no_difference(workspace: Path) -> None:
    book = read_book(workspace / "catalog")
    roster = read_roster(workspace / "roster", book)
    assert diff_books(book, book).is_empty()
    assert diff_rosters(roster, roster).is_empty()


def test_against_nothing_every_row_was_added(workspace: Path) -> None:
    book = read_book(workspace / "catalog")
    changes = diff_books(None, book)
    assert changes["change"].unique().to_list() == ["added"]
    assert changes.filter(what="price").height == book.prices.height
    assert changes.filter(what="tier").height == book.tiers.height


def test_a_changed_tier_is_one_row_with_before_and_after(workspace: Path) -> None:
    old = read_book(workspace / "catalog")
    new, _ = edited(workspace, "catalog/plans.yaml", "unit_price: 0.032", "unit_price: 0.031")
    assert diff_books(old, new).rows() == [
        ("tier", "pro.month.minutes tier 2", "2026-01-01", "changed", "unit price 0.032", "unit price 0.031")
    ]


def test_a_new_price_version_ends_the_one_before(workspace: Path) -> None:
    old = read_book(workspace / "catalog")
    right = "          - {valid_from: 2026-01-01, fee: 800}"
    new, _ = edited(workspace, "catalog/addons.yaml", right, f"{right}\n          - {{valid_from: 2027-01-01, fee: 850}}")
    changes = diff_books(old, new)
    assert changes.select("what", "id", "version", "change").rows() == [
        ("price", "webinar.fee", "2026-01-01", "changed"),
        ("price", "webinar.fee", "2027-01-01", "added"),
        ("tier", "webinar.fee tier 0", "2027-01-01", "added"),
    ]
    assert changes.row(0)[4:] == ("valid to none", "valid to 2026-12-31T16:00:00Z")
    assert "unit price 850" in changes.row(2)[5]


def test_a_filter_that_covers_more_is_named(workspace: Path) -> None:
    old = read_book(workspace / "catalog")
    new, _ = edited(workspace, "catalog/plans.yaml", "where: {region: [cn, hk]}", "where: {region: [cn, hk, mo]}")
    assert diff_books(old, new).row(0)[1:] == (
        "pro.month.minutes by region",
        "2026-01-01",
        "changed",
        "values cn, hk",
        "values cn, hk, mo",
    )


def test_a_changed_and_a_removed_override_are_rows(workspace: Path) -> None:
    old = read_roster(workspace / "roster", read_book(workspace / "catalog"))
    _, new = edited(workspace, "roster/overrides.yaml", "discount: 15%", "discount: 20%")
    assert diff_rosters(old, new).rows() == [
        (
            "override",
            "pro.month.minutes for account lantian",
            "2025-12-31T16:00:00Z",
            "changed",
            "discount 0.15",
            "discount 0.2",
        )
    ]
    removed = "  - account: lantian\n    price: pro.month.minutes\n    valid_from: 2026-01-01\n    discount: 20%\n"
    _, gone = edited(workspace, "roster/overrides.yaml", removed, "")
    assert diff_rosters(new, gone).select("what", "change", "after").rows() == [("override", "removed", None)]


def test_a_new_subscription_is_a_row_for_each_plan_and_identifier(workspace: Path) -> None:
    old = read_roster(workspace / "roster", read_book(workspace / "catalog"))
    more = "subscriptions:\n  - {id: s9, account: pine, plan: video.pro.year, from: 2026-11-01, addons: [webinar.month]}\n"
    _, new = edited(workspace, "roster/subscriptions.yaml", "subscriptions:\n", more)
    assert diff_rosters(old, new).select("what", "id", "change").rows() == [
        ("subscription", "s9 with video.pro.year", "added"),
        ("subscription", "s9 with webinar.month", "added"),
        ("identifier", "s9", "added"),
    ]
