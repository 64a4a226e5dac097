"""Capacity: the smallest tier that holds the peak of each meter, whatever the order and the cuts."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.rating_world import Desk, Row, World, event
from tests.test_rating_retract import retraction

SCALE = 1
NAMES = ["rooms", "seats", "disk"]
Limits = dict[str, Decimal]


def capacity(
    limits: list[Limits], fees: list[Decimal], names: list[str] = NAMES, *, scale: int = SCALE, **more: object
) -> World:
    """Tiers of these limits and one without any; fees of all of them."""
    world = World().account(partner_id="agent").subscription()
    for name in names:
        world.meter(name, event_type=name, aggregation="max", quantity_scale=scale)
    rows: list[Row] = []
    for number, fee in enumerate(fees):
        last = number == len(limits)
        held = None if last else [limits[number].get(name) for name in names]
        bounds: Row = {"tier": number, "tier_from": Decimal(number), "tier_to": None if last else Decimal(number + 1)}
        rows.append(bounds | {"unit_price": Decimal(0), "flat": fee, "limits": held})
    return world.price("usage", rows, own=False, model="capacity", meter_id=names[0], meters=names, **more)


def plain_rule(limits: list[Limits], fees: list[Decimal], used: list[tuple[str, Decimal]]) -> Decimal:
    """The first tier that holds the largest quantity of each meter."""
    peaks = {name: max((q for other, q in used if other == name), default=Decimal(0)) for name in NAMES}
    if not any(peaks.values()):
        return Decimal(0)
    for held, fee in zip(limits, fees, strict=False):
        if all(peaks[name] <= held[name] for name in NAMES):
            return fee
    return fees[-1]


quantity = st.decimals(0, 30, places=SCALE)


@st.composite
def tariffs(draw: st.DrawFn) -> tuple[list[Limits], list[Decimal]]:
    count = draw(st.integers(0, 3))
    columns = {name: sorted(draw(st.lists(quantity, min_size=count, max_size=count))) for name in NAMES}
    limits = [{name: columns[name][place] for name in NAMES} for place in range(count)]
    return limits, draw(st.lists(st.decimals(0, 500, places=2), min_size=count + 1, max_size=count + 1))


@examples(12)
@given(tariffs(), st.lists(st.tuples(st.sampled_from(NAMES), quantity), min_size=1, max_size=10), st.data())
def test_a_period_costs_the_smallest_tier_that_holds_every_peak(
    tariff: tuple[list[Limits], list[Decimal]], used: list[tuple[str, Decimal]], data: st.DataObject
) -> None:
    terms = capacity(*tariff).share("usage", "0.5").terms()
    events = [event(f"e{n}", str(q), event_type=name) for n, (name, q) in enumerate(used)]
    arrived = data.draw(st.permutations(events))
    desk = Desk(terms)
    for start, end in pairwise(sorted({0, *data.draw(st.lists(st.integers(0, len(used)), max_size=2)), len(used)})):
        desk.rate(*arrived[start:end])
    assert desk.reasons == []
    assert desk.total() == plain_rule(*tariff, used)
    assert desk.total("share") == desk.total() / 2
    reported = desk.postings.filter(role="revenue").select("event_id", "quantity_quanta").rows()
    assert {(f"e{n}", int(q * 10**SCALE)) for n, (_, q) in enumerate(used)} == set(reported)
    gone = data.draw(st.sets(st.integers(0, len(used) - 1)))
    desk.rate(*(retraction(f"no-{n}", f"e{n}", event_type=used[n][0]) for n in gone))
    assert desk.reasons == []
    assert desk.total() == plain_rule(*tariff, [use for n, use in enumerate(used) if n not in gone])


@pytest.mark.parametrize(("at_zero", "cost"), [(False, 0), (True, 7)])
def test_nothing_used_costs_the_first_tier_only_if_the_plan_says_so(at_zero: bool, cost: int) -> None:
    held = {name: Decimal(5) for name in NAMES}
    desk = Desk(capacity([held], [Decimal(7), Decimal(9)], flat_at_zero=at_zero).terms())
    desk.rate(event("a", "0", event_type="seats"))
    assert desk.total() == cost


def test_the_row_says_which_tier_is_needed_and_what_was_reported() -> None:
    held = [{"rooms": Decimal(10), "seats": Decimal(100)}, {"rooms": Decimal(20), "seats": Decimal(200)}]
    desk = Desk(capacity(held, [Decimal(1), Decimal(10), Decimal(100)], ["rooms", "seats"]).terms())
    desk.rate(event("a", "10", event_type="rooms"), event("b", "200", event_type="seats"), event("c", "11", event_type="rooms"))
    rows = desk.postings.select("meter_id", "quantity_quanta", "before_quanta", "after_quanta", "tier", "amount").rows()
    assert rows == [
        ("rooms", 100, 0, 10, 0, Decimal(1)),
        ("seats", 2000, 10, 20, 1, Decimal(9)),
        ("rooms", 110, 20, 20, 1, Decimal(0)),
    ]
