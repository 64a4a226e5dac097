"""Publishing: versions are immutable, numbered, checked when read, and depend on content only."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from catalog.book_source import read_book
from catalog.frozen import seal_book
from catalog.roster_source import read_roster
from catalog.templates import copy_template
from catalog.versions import load_book, load_roster, publish_book, publish_roster, published_versions
from schemas.book import BOOK_FRAMES, Book
from schemas.errors import BrokenPromise, NothingPublished, Refused
from schemas.roster import ROSTER_FRAMES, Roster
from tests.examples import examples


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    copy_template("video-conference", tmp_path / "w")
    return tmp_path / "w"


def book_of(workspace: Path) -> Book:
    return read_book(workspace / "catalog")


def roster_of(workspace: Path) -> Roster:
    return read_roster(workspace / "roster", book_of(workspace))


def edit(path: Path, right: str, wrong: str) -> None:
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong, 1))


def test_what_was_published_is_what_is_loaded(workspace: Path) -> None:
    book, roster = book_of(workspace), roster_of(workspace)
    publish_book(book, workspace / "books")
    publish_roster(roster, workspace / "rosters")
    loaded_book, loaded_roster = load_book(workspace / "books"), load_roster(workspace / "rosters")
    assert (loaded_book.version, loaded_book.digest) == (1, book.digest)
    assert (loaded_roster.version, loaded_roster.digest) == (1, roster.digest)
    assert all(getattr(loaded_book, name).equals(getattr(book, name)) for name in BOOK_FRAMES)
    assert all(getattr(loaded_roster, name).equals(getattr(roster, name)) for name in ROSTER_FRAMES)


def test_the_same_content_is_the_same_version(workspace: Path) -> None:
    first = publish_book(book_of(workspace), workspace / "books")
    edit(workspace / "catalog" / "addons.yaml", "# Add-ons.", "# Our add-ons.")
    again = publish_book(book_of(workspace), workspace / "books")
    assert (again.version, again.digest) == (first.version, first.digest) == (1, book_of(workspace).digest)
    assert published_versions(workspace / "books") == [1]


def test_a_new_price_version_is_a_new_book_version_and_the_old_one_stays(workspace: Path) -> None:
    store = workspace / "books"
    publish_book(book_of(workspace), store)
    edit(
        workspace / "catalog" / "addons.yaml",
        "          - {valid_from: 2026-01-01, fee: 800}",
        "          - {valid_from: 2026-01-01, fee: 800}\n          - {valid_from: 2027-01-01, fee: 850}",
    )
    assert publish_book(book_of(workspace), store).version == 2
    assert load_book(store).prices.filter(price_id="webinar.fee").height == 2
    assert load_book(store, 1).prices.filter(price_id="webinar.fee").height == 1


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("addons.yaml", "fee: 800", "fee: 900", "price webinar.fee version 2026-01-01: tier 0, unit price 800"),
        ("addons.yaml", "call_type: webinar", "call_type: stage", "price webinar.minutes version 2026-01-01: dimension"),
        ("meters.yaml", "scale: 3", "scale: 4", "quantity scale 3 -> aggregation sum, unit minute, quantity scale 4"),
    ],
)
def test_terms_that_were_published_cannot_change(workspace: Path, file: str, right: str, wrong: str, said: str) -> None:
    publish_book(book_of(workspace), workspace / "books")
    edit(workspace / "catalog" / file, right, wrong)
    with pytest.raises(Refused, match="add new ones with a later valid_from") as caught:
        publish_book(book_of(workspace), workspace / "books")
    assert said in str(caught.value)
    assert published_versions(workspace / "books") == [1]


def test_terms_cannot_change_by_way_of_a_version_without_them(workspace: Path) -> None:
    file = workspace / "catalog" / "addons.yaml"
    whole = file.read_text()
    publish_book(book_of(workspace), workspace / "books")
    file.unlink()
    publish_book(book_of(workspace), workspace / "books")
    file.write_text(whole.replace("fee: 800", "fee: 900"))
    with pytest.raises(Refused, match="book version 1 has published"):
        publish_book(book_of(workspace), workspace / "books")


@pytest.mark.parametrize(("right", "wrong"), [("discount: 15%", "discount: 20%"), ("unit_price: 0.0075", "unit_price: 0.007")])
def test_a_negotiated_price_that_was_published_cannot_change(workspace: Path, right: str, wrong: str) -> None:
    publish_roster(roster_of(workspace), workspace / "rosters")
    edit(workspace / "roster" / "overrides.yaml", right, wrong)
    with pytest.raises(Refused, match="Terms that roster version 1 has published would change"):
        publish_roster(roster_of(workspace), workspace / "rosters")


def test_a_negotiated_price_may_end_and_a_name_may_change(workspace: Path) -> None:
    publish_roster(roster_of(workspace), workspace / "rosters")
    edit(workspace / "roster" / "overrides.yaml", "discount: 15%", "valid_to: 2026-12-01\n    discount: 15%")
    edit(workspace / "roster" / "accounts.yaml", "蓝天医疗集团", "蓝天医疗")
    assert publish_roster(roster_of(workspace), workspace / "rosters").version == 2


def test_loading_says_when_nothing_or_not_that_version_was_published(workspace: Path) -> None:
    with pytest.raises(NothingPublished, match="No price book has been published yet"):
        load_book(workspace / "books")
    publish_roster(roster_of(workspace), workspace / "rosters")
    with pytest.raises(Refused, match="There is no roster version 7"):
        load_roster(workspace / "rosters", 7)


@pytest.mark.parametrize("damage", ["changed", "missing", "manifest"])
def test_a_damaged_version_is_noticed(workspace: Path, damage: str) -> None:
    publish_book(book_of(workspace), workspace / "books")
    folder = workspace / "books" / "000001"
    if damage == "changed":
        content = bytearray((folder / "tiers.parquet").read_bytes())
        content[40] ^= 1
        (folder / "tiers.parquet").write_bytes(content)
    elif damage == "missing":
        (folder / "taxes.parquet").unlink()
    else:
        (folder / "book.json").write_text("{")
    with pytest.raises(BrokenPromise, match="Restore it"):
        load_book(workspace / "books")


def test_a_version_holds_one_file_per_frame_and_the_digest_of_each(workspace: Path) -> None:
    publish_book(book_of(workspace), workspace / "books")
    folder = workspace / "books" / "000001"
    manifest = json.loads((folder / "book.json").read_text())
    assert sorted(manifest["files"]) == sorted(f"{name}.parquet" for name in BOOK_FRAMES)
    assert {path.name for path in folder.iterdir()} == {*manifest["files"], "book.json"}
    assert [path.name for path in (workspace / "books").iterdir()] == ["000001"]


def test_a_store_that_cannot_be_made_is_refused(workspace: Path) -> None:
    (workspace / "books").write_text("a file stands in the way")
    with pytest.raises(Refused, match="Nothing was published"):
        publish_book(book_of(workspace), workspace / "books")


AMOUNTS = st.decimals(min_value=0, max_value=999_999_999_999, places=9, allow_nan=False)
BOUNDS = st.lists(st.decimals(min_value=1, max_value=10**9, places=6), max_size=6, unique=True).map(sorted)
NAMES = st.text(st.characters(categories=["L", "N"], include_characters=" -:#'{}[]&*!|>%@`,?"), min_size=1, max_size=30)


@st.composite
def written_books(draw: st.DrawFn) -> tuple[str, list[tuple[Decimal | None, Decimal]]]:
    """A book as YAML, with the tiers that it says: bound and unit price."""
    bounds: list[Decimal | None] = [*draw(BOUNDS), None]
    tiers = [(bound, draw(AMOUNTS)) for bound in bounds]
    start = date(2020, 1, 1) + timedelta(days=draw(st.integers(0, 5000)))
    name = draw(NAMES.filter(lambda text: bool(text.strip())))
    meter = {"id": "m", "event_type": "e", "aggregation": "sum", "property": "p", "unit": name, "scale": "9"}
    rows = [{"unit_price": f"{price:f}"} | ({} if bound is None else {"up_to": f"{bound:f}"}) for bound, price in tiers]
    version = {"valid_from": start.isoformat(), "model": draw(st.sampled_from(["graduated", "volume"])), "tiers": rows}
    price = {"id": "p", "name": {"en": name, "zh": name}, "meter": "m", "versions": [version]}
    book = {
        "currency": draw(st.sampled_from(["CNY", "EUR", "JPY", "KWD"])),
        "zone": draw(st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin"])),
        "meters": [meter],
        "plans": [{"id": "plan", "name": name, "prices": [price]}],
        "taxes": [{"country": "CN", "rate": "6%", "valid_from": "2020-01-01"}],
    }
    return json.dumps(book, ensure_ascii=draw(st.booleans())), tiers


@given(written=written_books())
@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_valid_book_survives_publishing_unchanged(
    tmp_path_factory: pytest.TempPathFactory, written: tuple[str, list[tuple[Decimal | None, Decimal]]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    text, tiers = written
    (folder / "book.yaml").write_text(text)
    book = read_book(folder)
    loaded = publish_book(book, folder / "books")
    assert load_book(folder / "books").digest == book.digest == loaded.digest
    assert load_book(folder / "books").tiers.select("tier_to", "unit_price").rows() == tiers
    assert load_book(folder / "books").prices.equals(book.prices)
    assert book.tiers["tier_from"].to_list() == [Decimal(0), *[bound for bound, _ in tiers[:-1]]]


def test_the_digest_does_not_depend_on_the_order_of_rows(workspace: Path) -> None:
    book = book_of(workspace)
    turned = {name: _turned(getattr(book, name)) for name in BOOK_FRAMES}
    assert seal_book(turned).digest == book.digest


def _turned(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows from the last to the first. (`reverse` forgets the type of a list column that is all null.)"""
    return frame.with_row_index("row").sort("row", descending=True).drop("row")
