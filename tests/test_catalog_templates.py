"""Templates are complete workspaces: they read, publish and hold what they promise."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from catalog.book_source import read_book
from catalog.examples import read_examples
from catalog.roster_source import read_roster
from catalog.templates import copy_template, template_names
from catalog.versions import publish_book, publish_roster
from pipelines.catalog_test import run_examples
from schemas.errors import BadInput, Refused


@pytest.mark.parametrize("name", template_names())
def test_a_template_publishes(tmp_path: Path, name: str) -> None:
    copy_template(name, tmp_path / "w")
    book = publish_book(read_book(tmp_path / "w" / "catalog"), tmp_path / "books")
    roster = publish_roster(read_roster(tmp_path / "w" / "roster", book), tmp_path / "rosters")
    assert (book.version, roster.version) == (1, 1)


@pytest.mark.parametrize("name", template_names())
def test_the_examples_of_a_template_pass(tmp_path: Path, name: str) -> None:
    copy_template(name, tmp_path / "w")
    book = read_book(tmp_path / "w" / "catalog")
    roster = read_roster(tmp_path / "w" / "roster", book)
    ran = run_examples(book, roster, read_examples(tmp_path / "w" / "catalog", book, roster))
    assert ran.examples >= 5
    assert ran.results.filter(result="failed").rows() == []


def test_the_video_conference_template_holds_every_model_and_kind(tmp_path: Path) -> None:
    copy_template("video-conference", tmp_path / "w")
    book = read_book(tmp_path / "w" / "catalog")
    roster = read_roster(tmp_path / "w" / "roster", book)
    assert set(book.prices["model"]) == {"per_unit", "graduated", "volume", "package", "flat"}
    assert set(book.prices["interval"].drop_nulls()) == {"month", "year"}
    assert set(book.meters["meter_id"]) == {
        "meeting.minutes",
        "ports.peak",
        "storage.gigabytes",
        "traffic.gigabytes",
        "pstn.minutes",
    }
    assert set(roster.overrides["account_id"]) == {"huaxing", "lantian", "nordlicht"}
    assert roster.partners.height == 1
    assert set(roster.accounts["language"]) == {"zh", "en"}


@pytest.mark.parametrize("name", template_names())
def test_the_readme_of_a_template_names_every_event_subject_and_property(tmp_path: Path, name: str) -> None:
    copy_template(name, tmp_path / "w")
    text = (tmp_path / "w" / "README.md").read_text()
    book = read_book(tmp_path / "w" / "catalog")
    roster = read_roster(tmp_path / "w" / "roster", book)
    names = [
        *book.meters["event_type"],
        *book.meters["property"].drop_nulls(),
        *book.meters["meter_id"],
        *roster.identifiers["identifier"],
    ]
    names += book.meters.select(pl.col("dimensions").explode()).drop_nulls().to_series().to_list()
    assert [word for word in names if f"`{word}`" not in text] == []


def test_an_unknown_template_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean 'video-conference'"):
        copy_template("video-conferense", tmp_path)


def test_a_template_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    with pytest.raises(Refused, match="not overwritten"):
        copy_template("video-conference", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["catalog"]
