"""Prices of a level: each stretch of time at the tier it stands in, each tier's flat fee once it was reached."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, instant
from tests.test_rating_aggregates import BEGIN, END, ZONE, Point, as_event
from tests.test_rating_models import Band, Price, half_up, of_bands
from tests.test_rating_retract import retraction

CHANGES, HEIGHTS = "average_of_changes", "time_average"
MODELS = ["per_unit", "graduated", "volume"]


def world(price: Price, aggregation: str = CHANGES, zone: str = ZONE) -> World:
    made = World().meter(aggregation=aggregation, quantity_scale=0).account(partner_id="agent", zone=zone)
    made.price("usage", price.tiers(), own=False, **price.says() | {"per": "level", "cap": None, "flat_at_zero": False})
    return made.subscription().discount("usage", str(price.discount)).share("usage", "0.25")


def plain_rule(price: Price, aggregation: str, points: Sequence[Point]) -> Decimal:
    """Second by second would be the definition; stretch by stretch is the same."""
    ordered = sorted(points)
    ends = [*(at for at, _, _ in ordered[1:]), *([END] if ordered else [])]
    level, peak, area = 0, 0, Fraction(0)
    units, flats = without_flats(price), only_flats(price)
    for (at, _, told), end in zip(ordered, ends, strict=True):
        level = level + told if aggregation == CHANGES else told
        seconds = int((end - at).total_seconds())
        peak = max(peak, level) if seconds else peak
        area += of_level(units, level) * seconds
    money = Fraction(half_up(area / int((END - BEGIN).total_seconds()))) + of_level(flats, peak)
    return half_up(money * (1 - Fraction(price.discount)))


def of_level(price: Price, level: int) -> Fraction:
    return of_bands(price, max(Fraction(level) - Fraction(price.included), Fraction(0)))


def without_flats(price: Price) -> Price:
    return price._replace(bands=[band._replace(flat=Decimal(0)) for band in price.bands])


def only_flats(price: Price) -> Price:
    return price._replace(bands=[band._replace(price=Decimal(0)) for band in price.bands])


@st.composite
def prices(draw: st.DrawFn) -> Price:
    model = draw(st.sampled_from(MODELS))
    money = st.decimals(0, 100, places=4)
    cuts = sorted(draw(st.sets(st.integers(1, 12), max_size=0 if model == "per_unit" else 3)))
    bands = []
    for up_to in [*map(Decimal, cuts), None]:
        size = Decimal(draw(st.integers(1, 3))) if model != "per_unit" and draw(st.booleans()) else None
        bands.append(Band(up_to, draw(money), size, Decimal(0) if model == "per_unit" else draw(money)))
    return Price(model, bands, Decimal(draw(st.integers(0, 4))), None, False, draw(st.decimals(0, 1, places=6)), Decimal(0))


@examples(15, suppress_health_check=[HealthCheck.too_slow])
@given(prices(), st.sampled_from([CHANGES, HEIGHTS]), st.data())
def test_a_period_costs_what_its_level_costs_over_time_however_cut_ordered_and_retracted(
    price: Price, aggregation: str, data: st.DataObject
) -> None:
    told = st.integers(-5 if aggregation == CHANGES else 0, 12)
    moment = st.integers(0, 30) | st.integers(0, 31 * 1440 - 1)
    drawn = data.draw(st.lists(st.tuples(moment, told), min_size=1, max_size=12))
    points = [(BEGIN + timedelta(minutes=minutes), f"e{place}", n) for place, (minutes, n) in enumerate(drawn)]
    arrived = data.draw(st.permutations(points))
    desk = Desk(world(price, aggregation).terms())
    for start, end in pairwise(sorted({0, *data.draw(st.lists(st.integers(0, len(points)), max_size=2)), len(points)})):
        desk.rate(*map(as_event, arrived[start:end]))
    assert desk.reasons == []
    assert desk.total() == plain_rule(price, aggregation, points)
    assert desk.total("share") == half_up(Fraction(desk.total()) / 4)
    gone = data.draw(st.sets(st.integers(0, len(points) - 1)))
    desk.rate(*(retraction(f"no-{place}", f"e{place}") for place in sorted(gone)))
    assert desk.reasons == []
    assert desk.total() == plain_rule(price, aggregation, [p for place, p in enumerate(points) if place not in gone])


def seats(*changes: tuple[str, int]) -> list[Row]:
    """Changes at the beginning of a day of September 2026 (30 days)."""
    return [event(f"e{n}", str(change), occurred_at=instant(f"2026-09-{day}")) for n, (day, change) in enumerate(changes)]


def in_tiers(*tiers: tuple[str | None, str, str]) -> Price:
    bands = [Band(None if up_to is None else Decimal(up_to), Decimal(p), None, Decimal(flat)) for up_to, p, flat in tiers]
    return Price("graduated", bands, Decimal(0), None, False, Decimal(0), Decimal(0))


@pytest.mark.parametrize(
    ("changes", "cost"),
    [
        ([("01", 1)], "130"),
        ([("01", 1), ("16", 1)], "187.5"),  # the second seat: half a month at 15, and the flat fee of its tier whole
        ([("01", 1), ("16", 1), ("17", -1)], "180.5"),  # a tier that was reached for a day is due
        ([("16", 1), ("16", -1)], "0"),  # nothing stood there
        ([("01", 2), ("16", -5)], "172.5"),  # below nothing costs nothing
    ],
)
def test_a_seat_costs_its_days_in_its_tier(changes: list[tuple[str, int]], cost: str) -> None:
    desk = Desk(world(in_tiers(("1", "30", "100"), (None, "15", "50")), zone="UTC").terms())
    desk.rate(*seats(*changes))
    assert desk.total() == Decimal(cost)


def test_other_prices_of_the_meter_are_priced_by_the_average() -> None:
    made = world(in_tiers(("1", "30", "0"), (None, "15", "0")), zone="UTC")
    more: dict[str, Any] = {"model": "per_unit", "per": "period"}
    desk = Desk(made.price("plain", **more).terms())
    desk.rate(*seats(("01", 2), ("16", 2)))
    totals = {name: desk.total(price_id=name) for name in ("usage", "plain")}
    assert totals == {"usage": Decimal(60), "plain": Decimal(3)}
