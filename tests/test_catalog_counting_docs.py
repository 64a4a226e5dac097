"""What docs/CATALOG.md says of totals that are shared is what they cost."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from catalog.book_source import read_book
from rating.terms import compile_terms
from schemas.book import Book
from tests.rating_world import Desk, World, event

TEXT = (Path(__file__).parents[1] / "docs" / "CATALOG.md").read_text()
METERS = TEXT[TEXT.index("# catalog\nzone:") :].partition("```")[0]
BLOCK = r"^```yaml\n# catalog\nplans:\n  - id: (\w+)\n((?:(?!```).*\n)+)```\n\n"
SECTION = re.compile(BLOCK + r"((?:- (?:subscriptions|accounts) of .*\n)+)", re.MULTILINE)
CASES = [
    (plan, body, kind, quantities.split(", "), Decimal(cost))
    for plan, body, lines in SECTION.findall(TEXT)
    for kind, quantities, cost in re.findall(r"^- (\w+) of ([\d., ]+) cost ([\d.]+)$", lines, re.MULTILINE)
]


def book_of(folder: Path, plan: str, body: str) -> Book:
    (folder / "book.yaml").write_text(f"{METERS}plans:\n  - id: {plan}\n{body}")
    (folder / "taxes.yaml").write_text("taxes: [{country: CN, rate: 6%, valid_from: 2020-01-01}]\n")
    return read_book(folder)


@pytest.mark.parametrize(("plan", "body", "kind", "quantities", "cost"), CASES, ids=[f"{c[0]}-{c[4]}" for c in CASES])
def test_what_several_use_together_costs_what_the_page_says(
    tmp_path: Path, plan: str, body: str, kind: str, quantities: list[str], cost: Decimal
) -> None:
    world = World().account("top")
    for number in range(len(quantities)):
        account = f"below-{number}" if kind == "accounts" else "top"
        if kind == "accounts":
            world.account(account, parent_id="top")
        world.subscription(f"s{number}", account, plan_id=plan)
    desk = Desk(compile_terms(book_of(tmp_path, plan, body), world.roster()))
    more = {"event_type": "meeting.ended"}
    desk.rate(*(event(f"e{n}", {"minutes": q}, subject=f"s{n}", **more) for n, q in enumerate(quantities)))
    assert desk.reasons == []
    assert desk.total() == cost


def test_the_page_has_amounts_for_both_ways_to_share() -> None:
    assert {(plan, kind) for plan, _, kind, *_ in CASES} == {("shared", "subscriptions"), ("grouped", "accounts")}
