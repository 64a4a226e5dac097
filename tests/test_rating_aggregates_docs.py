"""docs/CATALOG.md names every aggregation, with an example that adds up as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from catalog.entries import Aggregation
from tests.rating_world import Desk, event, instant, one_price

PAGE = (Path(__file__).parents[1] / "docs" / "CATALOG.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## Aggregations\n")[1].split("\n## ")[0]
EXAMPLES = re.findall(r"^\| `(\w+)` \| .* \| ((?:\d\d:\d\d \S+(?:, )?)+) \| (\d+) \|$", SECTION, re.MULTILINE)


def test_every_aggregation_of_the_catalog_has_an_example() -> None:
    assert [name for name, _, _ in EXAMPLES] == list(get_args(Aggregation))


@pytest.mark.parametrize(("aggregation", "events", "total"), EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_the_events_of_an_example_amount_to_its_total(aggregation: str, events: str, total: str) -> None:
    desk = Desk(one_price(aggregation=aggregation).terms())
    for number, text in enumerate(events.split(", ")):
        time, value = text.split()
        desk.rate(event(f"e{number}", value, occurred_at=instant(f"2026-10-31T{time}")))
    assert desk.postings["after_quanta"][-1] == int(total)
