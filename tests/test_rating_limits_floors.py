"""The least that a price costs a subscription in a usage period."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.limits_world import OCTOBER, Till, paid
from tests.rating_world import Row, World, event, instant, one_price, tiers

NOVEMBER = OCTOBER.next()


def floored(floor: str = "100", prorated: bool = True, **more: Any) -> World:
    return one_price("per_unit", tiers((None, "0.5")), floor=Decimal(floor), floor_prorated=prorated, **more)


def used(quantity: str, day: str = "2026-10-15", name: str = "e") -> Row:
    return event(f"{name}-{day}-{quantity}", quantity, occurred_at=instant(day))


def test_what_is_missing_to_the_floor_is_due_and_no_more() -> None:
    till = Till(floored()).rate(used("120"))
    assert till.amounts(till.close()) == {("2026-10", "usage/floor"): Decimal(40)}
    assert paid(till, "2026-10") == Decimal(100)


def test_without_usage_the_floor_is_due_whole() -> None:
    till = Till(floored())
    rows = till.close()
    assert rows.select("charge", "subscription_id", "quantity_quanta", "after_quanta", "amount", "partner_id").rows() == [
        ("floor", "acme-1", 0, 0, Decimal(100), None)
    ]


def test_usage_above_the_floor_pays_for_itself() -> None:
    till = Till(floored()).rate(used("300"))
    assert till.close().is_empty()


def test_a_second_run_posts_nothing() -> None:
    till = Till(floored()).rate(used("120"))
    till.close()
    assert till.close().is_empty()


def test_late_usage_takes_back_what_was_missing_in_its_own_month() -> None:
    till = Till(floored()).rate(used("120"))
    till.close()
    till.rate(used("60", name="late"), used("300", "2026-11-03"))
    assert till.amounts(till.close(NOVEMBER)) == {("2026-10", "usage/floor"): Decimal(-30)}
    assert paid(till, "2026-10") == Decimal(100)


@pytest.mark.parametrize(("prorated", "due"), [(True, "50"), (False, "100")])
def test_a_subscription_of_half_the_month_owes_half_if_it_says_so(prorated: bool, due: str) -> None:
    world = floored(prorated=prorated)
    world.subscriptions[0]["active_from"] = instant("2026-11-16")
    till = Till(world, NOVEMBER)
    till.close(NOVEMBER)
    assert paid(till, "2026-11") == Decimal(due)


@pytest.mark.parametrize(("prorated", "due"), [(True, "110"), (False, "120")])
def test_versions_that_follow_each_other_in_a_month_share_its_floor(prorated: bool, due: str) -> None:
    world = floored(prorated=prorated, valid_to=instant("2026-11-16"))
    more: dict[str, object] = {"floor": Decimal(120), "floor_prorated": prorated, "valid_from": instant("2026-11-16")}
    world.price("usage", tiers((None, "0.5")), own=False, price_version="2026-11-16", **more)
    till = Till(world, NOVEMBER).rate(used("20", "2026-11-03"), used("20", "2026-11-20"))
    till.close(NOVEMBER)
    assert paid(till, "2026-11") == Decimal(due)


def test_a_discount_does_not_lower_the_floor() -> None:
    till = Till(floored().discount("usage", "0.5")).rate(used("300"))
    till.close()
    assert till.desk.total() == Decimal(75)
    assert paid(till, "2026-10") == Decimal(100)


def test_negotiated_terms_without_a_floor_have_none() -> None:
    world = (
        floored()
        .override("usage", "2026-01-01/acme")
        .price("usage", tiers((None, "0.1")), price_version="2026-01-01/acme", own=True)
    )
    assert Till(world).close().is_empty()


def test_usage_that_is_taken_back_brings_the_floor_back() -> None:
    till = Till(floored()).rate(used("300"))
    till.close()
    till.rate(event("undo", retracts="e-2026-10-15-300", occurred_at=instant("2026-11-02")))
    assert till.amounts(till.close(NOVEMBER))["2026-10", "usage/floor"] == Decimal(100)
    assert paid(till, "2026-10") == Decimal(100)


@examples(7)
@given(
    quantities=st.lists(st.integers(0, 400), max_size=5),
    floor=st.decimals("0", "200", places=2),
    first_day=st.integers(1, 31),
    split=st.integers(0, 5),
)
def test_a_month_costs_its_usage_or_the_floor_by_the_day(
    quantities: list[int], floor: Decimal, first_day: int, split: int
) -> None:
    world = floored(str(floor))
    world.subscriptions[0]["active_from"] = instant(f"2026-10-{first_day:02d}")
    till = Till(world)
    events = [
        event(f"e{number}", str(quantity), occurred_at=instant("2026-10-31")) for number, quantity in enumerate(quantities)
    ]
    till.rate(*events[:split])
    till.close()
    till.rate(*events[split:])
    till.close(NOVEMBER)
    least = (floor * (32 - first_day) / 31).quantize(Decimal("1e-18"), ROUND_HALF_UP)
    assert paid(till, "2026-10") == max(Decimal(sum(quantities)) / 2, least)


def test_a_price_of_several_meters_has_one_floor() -> None:
    made = World().account().subscription()
    rows: list[Row] = []
    for number, (fee, held) in enumerate([(30, [Decimal(5), Decimal(5)]), (90, None)]):
        bounds: Row = {"tier": number, "tier_from": Decimal(number), "tier_to": None if held is None else Decimal(1)}
        rows.append(bounds | {"unit_price": Decimal(0), "flat": Decimal(fee), "limits": held})
    for name in ("rooms", "seats"):
        made.meter(name, event_type=name, aggregation="max")
    capacity: dict[str, Any] = {"model": "capacity", "meter_id": "rooms", "meters": ["rooms", "seats"]}
    made.price("usage", rows, own=False, floor=Decimal(100), floor_prorated=True, **capacity)
    till = Till(made).rate(event("r", "3", event_type="rooms"), event("s", "4", event_type="seats"))
    assert till.amounts(till.close()) == {("2026-10", "usage/floor"): Decimal(70)}
