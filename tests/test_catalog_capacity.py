"""Mistakes in prices of several meters, each reported where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.book_source import read_book
from schemas.errors import BadCatalog

GOOD = """
currency: CNY
meters:
  - {id: rooms, event_type: a, aggregation: max, property: n, unit: room, scale: 1, dimensions: [site, kind]}
  - {id: seats, event_type: b, aggregation: max, property: n, unit: seat, scale: 1, dimensions: [site]}
  - {id: calls, event_type: c, aggregation: count, unit: call}
  - {id: disks, event_type: d, aggregation: max, property: n, unit: disk}
taxes:
  - {country: CN, rate: 6%, valid_from: 2020-01-01}
plans:
  - id: size
    name: Size
    prices:
      - id: size.size
        name: Size
        meters: [rooms, seats]
        where: {site: [north]}
        versions:
          - valid_from: 2026-01-01
            model: capacity
            tiers:
              - {limits: {rooms: 1.5, seats: 10}, flat: 1}
              - {limits: {rooms: 2, seats: 10}, flat: 2}
              - {flat: 3}
"""

MISTAKES = [
    ("rooms, seats", "rooms, calls", "'calls' must be a max, not count: a tier holds the peak of each meter"),
    ("rooms, seats", "rooms, disks", "'disks' has the scale 0 but 'rooms' 1; give them one scale"),
    ("rooms, seats", "rooms, seat", "there is no meter 'seat'; did you mean 'seats'?"),
    ("rooms, seats", "rooms, rooms", "there is no meter 'rooms', or it stands here twice"),
    ("meters: [rooms, seats]", "meter: rooms", "is of several meters; list them as 'meters:' of the price instead of 'meter:'"),
    ("meters: [rooms, seats]", "meters: [rooms, seats]\n        recurring: month", "needs either 'meter' (usage)"),
    ("site: [north]", "kind: [north]", "'kind' is no dimension of the meter"),
    ("{rooms: 2, seats: 10}", "{rooms: 1, seats: 10}", "1 is below 1.5 of the tier before; order tiers by their limits"),
    ("{rooms: 2, seats: 10}", "{rooms: 2}", "says nothing of 'seats'; every tier but the last limits each meter"),
    ("{rooms: 2, seats: 10}", "{rooms: 2, seat: 10}", "'seat' is no meter of this price; did you mean 'seats'?"),
    ("rooms: 1.5", "rooms: 1.55", "has 2 decimals; the meter counts 1"),
    ("- {flat: 3}", "- {limits: {rooms: 3, seats: 30}, flat: 3}", "limits the last tier; leave it out"),
    ("- {flat: 3}", "- {flat: 3, unit_price: 1}", "does not belong to a tier of this model, which takes limits, flat"),
    ("model: capacity", "model: stair_step", "stair_step is of one meter; a price of several has the model capacity"),
]


def test_a_price_of_several_meters_is_read(tmp_path: Path) -> None:
    (tmp_path / "book.yaml").write_text(GOOD)
    book = read_book(tmp_path)
    assert book.prices.select("meter_id", "meters").rows() == [("rooms", ["rooms", "seats"])]
    assert book.tiers.sort("tier").select("tier_from", "flat").rows() == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(("right", "wrong", "said"), MISTAKES, ids=[said[:40] for *_, said in MISTAKES])
def test_a_mistake_is_reported(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert right in GOOD
    (tmp_path / "book.yaml").write_text(GOOD.replace(right, wrong, 1))
    with pytest.raises(BadCatalog) as caught:
        read_book(tmp_path)
    assert said in str(caught.value)
