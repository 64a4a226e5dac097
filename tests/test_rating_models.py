"""What every price model promises, over random prices, quantities, cuts and orders."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from rating.kernel import find_steps, price_quanta
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, one_price, tiers

WIDE = Context(prec=100)
SCALE = 3


MODELS = ["per_unit", "graduated", "volume", "stair_step", "package"]
"""The functions there are; percentage and multiplier are per_unit, graduated_percentage is graduated."""


class Band(NamedTuple):
    """A tier in the words of the catalog, in units."""

    up_to: Decimal | None
    price: Decimal  # per unit, or per package
    package_size: Decimal | None
    flat: Decimal


class Price(NamedTuple):
    """A price in the words of the catalog."""

    model: str
    bands: list[Band]
    included: Decimal
    cap: Decimal | None
    flat_at_zero: bool
    discount: Decimal
    share: Decimal

    def tiers(self) -> list[Row]:
        rows = tiers(
            *((None if band.up_to is None else str(band.up_to), str(band.price), str(band.flat)) for band in self.bands)
        )
        return [row | {"package_size": band.package_size} for row, band in zip(rows, self.bands, strict=True)]

    def says(self) -> Row:
        return {
            "model": self.model,
            "included_units": self.included,
            "cap": self.cap,
            "flat_at_zero": self.flat_at_zero,
        }

    def world(self, aggregation: str) -> World:
        world = World().meter(aggregation=aggregation, quantity_scale=0 if aggregation == "count" else SCALE)
        world.price("usage", self.tiers(), own=False, **self.says()).account(partner_id="agent").subscription()
        return world.discount("usage", str(self.discount)).share("usage", str(self.share))


def oracle(price: Price, units: Decimal) -> Decimal:
    """f of a total by the plain rule, in exact fractions, then cap and discount; written without looking at the kernel."""
    used = max(Fraction(units) - Fraction(price.included), Fraction(0))
    total = of_bands(price, used)
    if price.cap is not None:
        total = min(total, Fraction(price.cap))
    return half_up(total * (1 - Fraction(price.discount)))


def of_bands(price: Price, used: Fraction) -> Fraction:
    """What the model says, for units after the included ones."""
    if not used:
        return Fraction(price.bands[0].flat) if price.flat_at_zero else Fraction(0)
    total, below = Fraction(0), Fraction(0)
    for band in price.bands:
        above = used if band.up_to is None else min(used, Fraction(band.up_to))
        if used > below:
            if price.model == "graduated":
                total += cost(band, above - below) + Fraction(band.flat)
            elif price.model == "stair_step":
                total = Fraction(band.flat)
            else:
                total = cost(band, used) + Fraction(band.flat)
        below = above
    return total


def cost(band: Band, units: Fraction) -> Fraction:
    counted = units if band.package_size is None else Fraction(-(-units // Fraction(band.package_size)))
    return counted * Fraction(band.price)


def half_up(value: Fraction) -> Decimal:
    exact = WIDE.divide(Decimal(value.numerator), Decimal(value.denominator))
    return exact.quantize(Decimal("1e-18"), rounding=ROUND_HALF_UP, context=WIDE)


def aggregate(aggregation: str, quantities: list[Decimal]) -> Decimal:
    if aggregation == "count":
        return Decimal(len(quantities))
    return max(quantities) if aggregation == "max" else sum(quantities, Decimal(0))


@st.composite
def prices(draw: st.DrawFn, model: str, scale: int = SCALE) -> Price:
    """Random prices of a model; tier bounds and packages have `scale` decimals."""
    units = st.decimals(Decimal(1).scaleb(-scale), 200, places=scale)
    fees = st.decimals(0, 1000, places=18)
    factors = st.decimals(0, 1, places=6)
    tiered = model in {"graduated", "volume", "stair_step"}
    cuts = sorted(draw(st.lists(units, max_size=4 if tiered else 0, unique=True)))
    bands = []
    for up_to in [*cuts, None]:
        packed = model == "package" or (model in {"graduated", "volume"} and draw(st.booleans()))
        price = Decimal(0) if model == "stair_step" else draw(fees if packed else st.decimals(0, 1000, places=15))
        bands.append(Band(up_to, price, draw(units) if packed else None, draw(fees)))
    included = draw(st.just(Decimal(0)) | st.decimals(0, 50, places=scale))
    cap = draw(st.none() | st.decimals(0, 30_000, places=18))
    return Price(model, bands, included, cap, draw(st.booleans()), draw(factors), draw(factors))


@pytest.mark.parametrize("aggregation", ["sum", "count", "max"])
@pytest.mark.parametrize("model", MODELS)
@examples(3, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_period_costs_f_of_its_total_however_it_is_cut_and_ordered(model: str, aggregation: str, data: st.DataObject) -> None:
    price = data.draw(prices(model, 0 if aggregation == "count" else SCALE))
    quantities = data.draw(st.lists(st.decimals(0, 300, places=SCALE), min_size=1, max_size=12))
    events = [event(f"e{number}", str(quantity)) for number, quantity in enumerate(quantities)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=2)))
    terms = price.world(aggregation).terms()

    whole, cut, shuffled = Desk(terms), Desk(terms), Desk(terms)
    whole.rate(*events)
    shuffled.rate(*data.draw(st.permutations(events)))
    for start, end in pairwise(sorted({0, *cuts, len(events)})):
        cut.rate(*events[start:end])

    expected = oracle(price, aggregate(aggregation, quantities))
    for desk in (whole, cut, shuffled):
        assert desk.reasons == []
        assert desk.total() == expected
        assert desk.total("share") == half_up(Fraction(expected) * Fraction(price.share))
    assert cut.postings.drop("stream_row").equals(whole.postings.drop("stream_row"))


@pytest.mark.parametrize("model", MODELS)
@examples(15)
@given(data=st.data())
def test_f_is_what_the_plain_rule_says(model: str, data: st.DataObject) -> None:
    price = data.draw(prices(model))._replace(discount=Decimal(0))
    quantities = data.draw(st.lists(st.decimals(0, 300, places=SCALE), min_size=1, max_size=50))
    terms = price.world("sum").terms()
    rows = pl.DataFrame({"quanta": [int(quantity.scaleb(SCALE)) for quantity in quantities]}, schema={"quanta": pl.Int64})
    rows = rows.join(terms.usage.select("price", "at_zero"), how="cross")
    found = price_quanta(rows, "quanta", terms.steps, find_steps(rows, "quanta", terms.step_keys))
    assert found.to_list() == [int(oracle(price, quantity).scaleb(18, WIDE)) for quantity in quantities]


@examples(4)
@given(data=st.data())
def test_many_aggregates_in_one_batch_do_not_touch_each_other(data: st.DataObject) -> None:
    names = ["a", "b", "c"]
    made = {name: data.draw(prices(model)) for name, model in zip(names, ["graduated", "volume", "package"], strict=True)}
    world = World().meter(quantity_scale=SCALE).account()
    for name, price in made.items():
        world.price(name, price.tiers(), own=False, plan_id=f"plan-{name}", **price.says())
        world.subscription(f"sub-{name}", plan_id=f"plan-{name}").discount(name, str(price.discount))
    drawn = data.draw(st.lists(st.tuples(st.sampled_from(names), st.decimals(0, 300, places=SCALE)), min_size=1, max_size=20))
    desk = Desk(world.terms())
    desk.rate(*(event(f"e{i}", str(quantity), subject=f"sub-{name}") for i, (name, quantity) in enumerate(drawn)))
    for name in {name for name, _ in drawn}:
        used = sum((quantity for other, quantity in drawn if other == name), Decimal(0))
        assert desk.total(subscription_id=f"sub-{name}") == oracle(made[name], used)


def test_the_last_unit_of_a_tier_belongs_to_it() -> None:
    desk = Desk(one_price("volume", tiers(("10", "2"), (None, "1"))).terms())
    assert desk.rate(event("a", "10")).postings["amount"].to_list() == [Decimal(20)]
    assert desk.rate(event("b", "1")).postings["amount"].to_list() == [Decimal(-9)]
    assert desk.postings["tier"].to_list() == [0, 1]


def test_a_tier_s_flat_fee_is_due_once_when_it_is_reached() -> None:
    desk = Desk(one_price("graduated", tiers(("10", "0", "5"), (None, "1", "7"))).terms())
    desk.rate(event("a", "10"), event("b", "1"), event("c", "1"))
    assert desk.postings["amount"].to_list() == [Decimal(5), Decimal(8), Decimal(1)]


@pytest.mark.parametrize(("flat_at_zero", "expected"), [(True, [5, 0, 1]), (False, [0, 0, 6])])
def test_the_first_flat_fee_falls_due_at_zero_usage_only_if_the_plan_says_so(flat_at_zero: bool, expected: list[int]) -> None:
    desk = Desk(one_price("graduated", tiers((None, "1", "5")), flat_at_zero=flat_at_zero).terms())
    for number, quantity in enumerate(["0", "0", "1"]):
        desk.rate(event(f"e{number}", quantity))
    assert desk.postings["amount"].to_list() == [Decimal(amount) for amount in expected]


def test_a_package_begun_is_due_whole_after_the_free_units() -> None:
    desk = Desk(one_price("package", tiers((None, "100"), package_size="10"), included_units=Decimal(10)).terms())
    desk.rate(*(event(f"e{i}", quantity) for i, quantity in enumerate(["10", "1", "9", "1"])))
    assert desk.postings["amount"].to_list() == [Decimal(0), Decimal(100), Decimal(0), Decimal(100)]


def test_a_forgiven_partial_package_is_more_free_units() -> None:
    desk = Desk(one_price("package", tiers((None, "100"), package_size="10"), scale=2, included_units=Decimal("9.99")).terms())
    desk.rate(*(event(f"e{i}", quantity) for i, quantity in enumerate(["9.99", "0.01", "9.99", "0.01"])))
    assert desk.postings["amount"].to_list() == [Decimal(0), Decimal(100), Decimal(0), Decimal(100)]


def test_included_units_come_before_the_first_tier() -> None:
    desk = Desk(one_price("graduated", tiers(("10", "2", "5"), (None, "1")), included_units=Decimal(100)).terms())
    desk.rate(event("a", "100"), event("b", "10"), event("c", "1"))
    assert desk.postings["amount"].to_list() == [Decimal(0), Decimal(25), Decimal(1)]


def test_a_period_never_costs_more_than_its_cap() -> None:
    desk = Desk(one_price(steps=tiers((None, "3")), cap=Decimal(10)).terms())
    desk.rate(event("a", "2"), event("b", "2"), event("c", "100"))
    assert desk.postings["amount"].to_list() == [Decimal(6), Decimal(4), Decimal(0)]


def test_below_its_cap_again_a_volume_price_falls_again() -> None:
    desk = Desk(one_price("volume", tiers(("10", "3"), (None, "1")), cap=Decimal(20)).terms())
    desk.rate(event("a", "10"), event("b", "1"), event("c", "20"))
    assert desk.postings["amount"].to_list() == [Decimal(20), Decimal(-9), Decimal(9)]


def test_a_stair_costs_the_fee_of_the_step_that_is_reached() -> None:
    desk = Desk(one_price("stair_step", tiers(("10", "0", "50"), (None, "0", "80"))).terms())
    desk.rate(event("a", "10"), event("b", "1"), event("c", "9"))
    assert desk.postings["amount"].to_list() == [Decimal(50), Decimal(30), Decimal(0)]


def test_blocks_of_a_volume_tier_are_counted_from_zero() -> None:
    rows = [row | {"package_size": Decimal(size)} for row, size in zip(tiers(("10", "1"), (None, "5")), (1, 8), strict=True)]
    desk = Desk(one_price("volume", rows).terms())
    desk.rate(event("a", "10"), event("b", "1"), event("c", "5"), event("d", "1"))
    assert desk.postings["amount"].to_list() == [Decimal(10), Decimal(0), Decimal(0), Decimal(5)]
