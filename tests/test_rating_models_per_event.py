"""Prices of each event by itself: calls by increments, percentages with a fixed part, allowances, least and most."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from rating.price import price_usage
from tests.examples import examples
from tests.rating_world import Desk, Row, arriving, event, one_price, tiers
from tests.test_rating_models import half_up

SCALE = 1


class Slot(NamedTuple):
    increments: int  # how many of them the slot holds; the last slot has no end
    increment: Decimal
    rate: Decimal
    per: Decimal


class Tariff(NamedTuple):
    """A price per event in the words of the catalog."""

    slots: list[Slot]
    connect_fee: Decimal
    minimum_units: Decimal
    minimum: Decimal | None
    maximum: Decimal | None
    included: Decimal
    free_events: int | None
    places: int
    up: bool
    discount: Decimal

    def desk(self) -> Desk:
        rows: list[Row] = []
        start = Decimal(0)
        for number, slot in enumerate(self.slots):
            end = None if number == len(self.slots) - 1 else start + slot.increments * slot.increment
            row: Row = {"tier": number, "tier_from": start, "tier_to": end, "unit_price": slot.rate}
            fee = Decimal(0) if number else self.connect_fee
            rows.append(row | {"package_size": slot.increment, "per_units": slot.per, "flat": fee})
            start = end or start
        world = one_price(
            "rated_time",
            rows,
            scale=SCALE,
            per="event",
            minimum_units=self.minimum_units,
            minimum=self.minimum,
            maximum=self.maximum,
            included_units=self.included,
            free_events=self.free_events,
            round_places=self.places,
            round_method="up" if self.up else "half_up",
        )
        return Desk(world.discount("usage", str(self.discount)).terms())


def cost_of_call(tariff: Tariff, seconds: Decimal) -> Decimal:
    """By the plain rule: one increment after the other, each at the rate of the slot in which it begins."""
    if not seconds:
        return Decimal(0)
    total, at, wanted = Fraction(tariff.connect_fee), Decimal(0), max(seconds, tariff.minimum_units)
    starts = [Decimal(0)]
    for slot in tariff.slots[:-1]:
        starts.append(starts[-1] + slot.increments * slot.increment)
    while at < wanted:
        slot = tariff.slots[max(number for number, start in enumerate(starts) if start <= at)]
        total += Fraction(slot.rate) * Fraction(slot.increment) / Fraction(slot.per)
        at += slot.increment
    total = total if tariff.minimum is None else max(total, Fraction(tariff.minimum))
    total = total if tariff.maximum is None else min(total, Fraction(tariff.maximum))
    scaled = total * 10**tariff.places
    whole = -(-scaled.numerator // scaled.denominator) if tariff.up else (2 * scaled + 1) // 2
    return half_up(Fraction(whole) / 10**tariff.places * (1 - Fraction(tariff.discount)))


def cost_of_calls(tariff: Tariff, calls: list[Decimal]) -> list[Decimal]:
    costs, used = [], Decimal(0)
    for number, seconds in enumerate(calls):
        has_free = tariff.included > 0 or tariff.free_events is not None
        open_ = has_free and (tariff.free_events is None or number < tariff.free_events)
        left = max(tariff.included - used, Decimal(0)) if tariff.included else seconds
        costs.append(cost_of_call(tariff, seconds - (min(left, seconds) if open_ else 0)))
        used += seconds
    return costs


units = st.decimals(Decimal("0.1"), 90, places=SCALE)
money = st.decimals(0, 50, places=4)
slots = st.lists(
    st.builds(Slot, st.integers(1, 5), units, st.decimals(0, 20, places=18), st.decimals(Decimal("0.1"), 90, places=SCALE)),
    min_size=1,
    max_size=3,
)
tariffs = st.builds(
    Tariff,
    slots,
    connect_fee=money,
    minimum_units=st.just(Decimal(0)) | st.decimals(0, 300, places=SCALE),
    minimum=st.none() | money,
    maximum=st.none() | st.decimals(50, 500, places=4),
    included=st.just(Decimal(0)) | st.decimals(0, 500, places=SCALE),
    free_events=st.none() | st.integers(0, 4),
    places=st.integers(0, 18),
    up=st.booleans(),
    discount=st.decimals(0, 1, places=6),
)


@examples(20, suppress_health_check=[HealthCheck.too_slow])
@given(tariffs, st.lists(st.decimals(0, 400, places=SCALE), min_size=1, max_size=8), st.data())
def test_each_call_costs_what_its_increments_say_however_batches_are_cut(
    tariff: Tariff, calls: list[Decimal], data: st.DataObject
) -> None:
    desk = tariff.desk()
    events = [event(f"e{number}", str(seconds)) for number, seconds in enumerate(calls)]
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=2))
    for start, end in pairwise(sorted({0, *cuts, len(events)})):
        desk.rate(*events[start:end])
    assert desk.reasons == []
    assert desk.postings["amount"].to_list() == cost_of_calls(tariff, calls)
    assert desk.postings["after_quanta"][-1] == int(sum(calls, Decimal(0)).scaleb(SCALE))


@examples(7)
@given(tariffs, st.lists(st.decimals(0, 400, places=SCALE), min_size=1, max_size=8), st.data())
def test_without_an_allowance_the_order_of_calls_does_not_matter(
    tariff: Tariff, calls: list[Decimal], data: st.DataObject
) -> None:
    plain = tariff._replace(included=Decimal(0), free_events=None)
    events = [event(f"e{number}", str(seconds)) for number, seconds in enumerate(calls)]
    first, second = plain.desk(), plain.desk()
    first.rate(*events)
    second.rate(*data.draw(st.permutations(events)))
    assert first.total() == second.total()


def test_sixty_six_charges_a_whole_minute_and_then_every_begun_six_seconds() -> None:
    rows = tiers(("60", "0.6"), (None, "0.6"))
    for row, increment in zip(rows, (60, 6), strict=True):
        row |= {"package_size": Decimal(increment), "per_units": Decimal(60)}
    desk = Desk(one_price("rated_time", rows, per="event").terms())
    desk.rate(*(event(f"e{i}", seconds) for i, seconds in enumerate(["0", "1", "60", "61", "66", "67"])))
    assert desk.postings["amount"].to_list() == [Decimal(text) for text in ("0", "0.6", "0.6", "0.66", "0.66", "0.72")]
    assert desk.postings["tier"].to_list() == [0, 0, 0, 1, 1, 1]


def test_tiers_per_event_begin_anew_with_each() -> None:
    desk = Desk(one_price("graduated", tiers(("10", "2"), (None, "1")), per="event").terms())
    desk.rate(event("a", "15"), event("b", "15"))
    assert desk.postings["amount"].to_list() == [Decimal(25), Decimal(25)]


@pytest.mark.parametrize(("free", "costs"), [({"free_events": 1}, [0, 4, 4]), ({"included_units": Decimal(5)}, [2, 4, 4])])
def test_a_partner_has_part_of_what_is_left_after_the_allowance(free: dict[str, Any], costs: list[int]) -> None:
    world = one_price("per_unit", tiers((None, "1")), per="event", maximum=Decimal(4), **free).share("usage", "0.5")
    desk = Desk(world.terms())
    desk.rate(event("a", "7"), event("b", "7"), event("c", "7"))
    assert desk.postings.filter(role="revenue")["amount"].to_list() == [Decimal(cost) for cost in costs]
    assert desk.total("share") == desk.total() / 2


@pytest.mark.parametrize("free", [{}, {"free_events": 1}, {"included_units": Decimal(9)}])
def test_a_call_taken_back_is_undone_as_if_it_had_come_last(free: dict[str, Any]) -> None:
    terms = one_price("per_unit", tiers((None, "1", "5")), per="event", **free).terms()
    rows = {"event": [0, 1, 2], "charge": [0, 0, 0], "before_quanta": [None, 7, 15], "after_quanta": [7, 15, 7]}
    counted = pl.DataFrame(rows | {"quantity_quanta": [7, 8, -8]}).with_columns(
        pl.col("event", "charge").cast(pl.UInt32),
        dimensions=pl.lit(""),
        usage_period=pl.date(2026, 10, 1),
        counted_for=pl.lit(None, pl.String),
        value=pl.lit(None, pl.String),
        windows=pl.lit(None, pl.String),
        reported_quanta=pl.lit(None, pl.Int64),
    )
    priced = price_usage(counted, arriving(), terms)["revenue_after"].to_list()
    assert priced[1] > 0
    assert priced[2] == -priced[1]
