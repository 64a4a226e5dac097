"""docs/CATALOG.md holds what it says: its examples are read, and the amounts beside them are right."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from catalog.book_source import read_book
from catalog.examples import read_examples
from catalog.models import MODELS, USAGE_MODELS
from catalog.roster_source import CSV_COLUMNS, read_roster
from pipelines.catalog_test import run_examples
from rating.terms import compile_terms
from schemas.book import Book
from tests.rating_world import Desk, World, event, instant

TEXT = (Path(__file__).parents[1] / "docs" / "CATALOG.md").read_text()
COSTS = [
    (model, Decimal(units), Decimal(cost))
    for model, part in re.findall(r"^### (\w+)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
    for units, cost in re.findall(r"^- ([\d.]+) units cost ([\d.]+)$", part, re.MULTILINE)
]

EVENTS = [
    (plan, year or "2026", quantities.split(", "), Decimal(cost))
    for plan, part in re.findall(r"^### (\w+)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
    for year, quantities, cost in re.findall(r"^- (?:in (\d+) )?events of ([\d., ]+) cost ([\d.]+)$", part, re.MULTILINE)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples of the page as the files of a workspace."""
    root = tmp_path_factory.mktemp("docs")
    for number, (kind, head, body) in enumerate(re.findall(r"^```(yaml|csv)\n# (\S+)\n(.*?)^```", TEXT, re.M | re.S)):
        path = root / (head if kind == "csv" else f"{head}/example{number:02d}.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(body)
    return root


@pytest.fixture(scope="module")
def book(folder: Path) -> Book:
    return read_book(folder / "catalog")


def desk_of(book: Book, plan: str) -> Desk:
    """Rates `acme-1`, which holds the plan named after its model."""
    return Desk(compile_terms(book, World().account().subscription(plan_id=plan).roster()))


def cost_of(book: Book, plan: str, units: Decimal) -> Decimal:
    """What so many units cost by the price of the plan named after its model."""
    meter = book.meters.join(book.prices.filter(plan_id=plan).select("meter_id"), on="meter_id").row(0, named=True)
    counted = meter["aggregation"] == "count"
    data = {} if counted else {meter["property"]: str(units)}
    desk = desk_of(book, plan)
    desk.rate(*(event(f"e{number}", data, event_type=meter["event_type"]) for number in range(int(units) if counted else 1)))
    assert desk.reasons == []
    return desk.total()


def test_the_examples_of_the_page_are_one_valid_workspace(folder: Path, book: Book) -> None:
    roster = read_roster(folder / "roster", book)
    assert set(book.prices["model"]) == set(MODELS)
    assert roster.subscriptions.height == 3
    assert set(roster.prices["price_version"]) == {"2026-06-01/acme", "2026-09-01/acme/acme-main"}


@pytest.mark.parametrize(("model", "units", "cost"), COSTS, ids=[f"{model}-{units}" for model, units, _ in COSTS])
def test_the_amount_beside_an_example_is_right(book: Book, model: str, units: Decimal, cost: Decimal) -> None:
    assert model not in MODELS or set(book.prices.filter(plan_id=model)["model"]) == {model}
    assert cost_of(book, model, units) == cost


@pytest.mark.parametrize(("plan", "year", "quantities", "cost"), EVENTS)
def test_the_amount_of_events_beside_an_example_is_right(
    book: Book, plan: str, year: str, quantities: list[str], cost: Decimal
) -> None:
    meter = book.meters.join(book.prices.filter(plan_id=plan).select("meter_id"), on="meter_id").row(0, named=True)
    more = {"event_type": meter["event_type"], "occurred_at": instant(f"{year}-02-01")}
    desk = desk_of(book, plan)
    desk.rate(*(event(f"e{n}", {meter["property"]: quantity}, **more) for n, quantity in enumerate(quantities)))
    assert desk.reasons == []
    assert desk.total() == cost


def test_the_examples_of_the_page_come_out_as_written(folder: Path, book: Book) -> None:
    roster = read_roster(folder / "roster", book)
    examples = read_examples(folder / "catalog", book, roster)
    ran = run_examples(book, roster, examples)
    assert (ran.examples, ran.failed) == (len(examples), 0)
    assert len(examples) > 10


def test_the_page_names_every_usage_model_with_an_amount_and_every_csv_column() -> None:
    assert {model for model, _, _ in COSTS} | {plan for plan, *_ in EVENTS} | {"dynamic"} >= set(USAGE_MODELS)
    assert [name for columns in CSV_COLUMNS.values() for name in columns if not re.search(rf"\b{name}\b", TEXT)] == []
