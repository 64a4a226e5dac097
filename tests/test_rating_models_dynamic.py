"""Dynamic: the price comes with the event, as the price of a unit or as the amount of the whole."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, tiers
from tests.test_rating_models import half_up
from tests.test_rating_retract import retraction

SCALE = 2


class Tariff(NamedTuple):
    takes: str = "amount"
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    places: int = 18
    discount: Decimal = Decimal(0)

    def world(self) -> World:
        world = World().meter(quantity_scale=SCALE, money="cost").account(partner_id="agent").subscription()
        more: Row = {"minimum": self.minimum, "maximum": self.maximum, "round_places": self.places, "round_method": "half_up"}
        world.price("usage", tiers((None, "0")), own=False, model="dynamic", per="event", takes=self.takes, **more)
        return world.discount("usage", str(self.discount))

    def cost(self, quantity: Decimal, money: Decimal) -> Decimal:
        """By the plain rule."""
        if not quantity:
            return Decimal(0)
        total = Fraction(money) * (Fraction(quantity) if self.takes == "unit_price" else 1)
        total = total if self.minimum is None else max(total, Fraction(self.minimum))
        total = total if self.maximum is None else min(total, Fraction(self.maximum))
        return half_up(Fraction((2 * total * 10**self.places + 1) // 2) / 10**self.places * (1 - Fraction(self.discount)))


def brought(name: str, quantity: str, money: str | None) -> Row:
    return event(name, {"value": quantity, "cost": money})


tariffs = st.builds(
    Tariff,
    st.sampled_from(["amount", "unit_price"]),
    minimum=st.none() | st.decimals(0, 50, places=4),
    maximum=st.none() | st.decimals(50, 900, places=4),
    places=st.integers(0, 18),
    discount=st.decimals(0, 1, places=6),
)
uses = st.lists(st.tuples(st.decimals(0, 99, places=SCALE), st.decimals(0, 10**6, places=16)), min_size=1, max_size=10)


@examples(15)
@given(tariffs, uses, st.data())
def test_each_event_costs_what_it_brings_however_cut_and_ordered(
    tariff: Tariff, used: list[tuple[Decimal, Decimal]], data: st.DataObject
) -> None:
    terms = tariff.world().terms()
    events = [brought(f"e{number}", str(quantity), str(money)) for number, (quantity, money) in enumerate(used)]
    costs = [tariff.cost(quantity, money) for quantity, money in used]
    cut, shuffled = Desk(terms), Desk(terms)
    for start, end in pairwise(sorted({0, len(events), *data.draw(st.lists(st.integers(0, len(events)), max_size=2))})):
        cut.rate(*events[start:end])
    shuffled.rate(*data.draw(st.permutations(events)))
    assert cut.reasons == []
    assert cut.postings["amount"].to_list() == costs
    assert shuffled.total() == sum(costs, Decimal(0))
    gone = data.draw(st.sets(st.integers(0, len(events) - 1)))
    cut.rate(*(retraction(f"no-{number}", f"e{number}") for number in gone))
    assert cut.total() == sum((cost for number, cost in enumerate(costs) if number not in gone), Decimal(0))


@pytest.mark.parametrize(
    ("money", "cost"),
    [("4.02", "4.02"), ("1e-07", "0.0000001"), ("1.5E3", "1500"), ("0", "0"), ("0.000000000000000001", "0.000000000000000001")],
)
def test_money_is_read_digit_by_digit(money: str, cost: str) -> None:
    desk = Desk(Tariff().world().terms())
    desk.rate(brought("a", "3", money))
    assert (desk.reasons, desk.total()) == ([], Decimal(cost))


@pytest.mark.parametrize("takes", ["amount", "unit_price"])
@pytest.mark.parametrize("money", [None, "", "NaN", "-1", "1e30", "0.0000000000000000001", "free", "12345678901234567890123"])
def test_an_event_without_a_price_that_can_be_taken_is_a_reject(takes: str, money: str | None) -> None:
    desk = Desk(Tariff(takes).world().terms())
    rejects = desk.rate(brought("a", "3", money)).rejects
    assert rejects["reason"].to_list() == ["bad_price"]
    assert "Property 'cost' of meter usage" in rejects["detail"][0]


def test_a_unit_price_has_as_many_decimals_as_its_meter_leaves_room_for() -> None:
    desk = Desk(Tariff("unit_price").world().terms())
    desk.rate(brought("a", "0.01", "0.0000000000000001"), brought("b", "0.01", "0.00000000000000001"))
    assert (desk.reasons, desk.total()) == (["bad_price"], Decimal("1e-18"))


def test_what_other_prices_of_the_meter_charge_needs_no_money() -> None:
    world = World().meter(money="cost").account().subscription().price("plain")
    desk = Desk(world.terms())
    desk.rate(event("a", "5"), brought("b", "5", "oops"))
    assert (desk.reasons, desk.total()) == ([], Decimal(10))


def test_the_same_id_with_other_money_is_another_content() -> None:
    for batches in ([1, 1, 1], [3]):
        desk = Desk(Tariff().world().terms())
        events = [brought("a", "1", "4"), brought("a", "1", "5"), brought("a", "1", "4")]
        for size in batches:
            desk.rate(*events[:size])
            events = events[size:]
        assert desk.reasons == ["duplicate_differs"]
        assert sum(result.duplicates for result in desk.results) == 1
        assert desk.total() == 4
