"""What every price model promises, over random prices, quantities, cuts and orders."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rating.kernel import find_steps, price_quanta
from tests.rating_world import Desk, Row, World, event, one_price, tiers

WIDE = Context(prec=100)
SCALE = 3


class Price(NamedTuple):
    """A price in the words of the catalog; tiers are (up_to, unit_price, flat) in units."""

    model: str
    steps: list[tuple[Decimal | None, Decimal, Decimal]]
    package_size: Decimal | None
    free_units: Decimal
    flat_at_zero: bool
    discount: Decimal
    share: Decimal

    def world(self, aggregation: str) -> World:
        rows = tiers(*((None if up_to is None else str(up_to), str(price), str(flat)) for up_to, price, flat in self.steps))
        world = one_price(
            self.model,
            rows,
            aggregation=aggregation,
            scale=0 if aggregation == "count" else SCALE,
            package_size=self.package_size,
            free_units=self.free_units,
            flat_at_zero=self.flat_at_zero,
        )
        return world.discount("usage", str(self.discount)).share("usage", str(self.share))


def oracle(price: Price, units: Decimal) -> Decimal:
    """f of a total by the plain rule, in exact fractions, then the discount; written without looking at the kernel."""
    total, used = Fraction(0), Fraction(units)
    bounds = [Fraction(0), *(Fraction(up_to) if up_to is not None else None for up_to, _, _ in price.steps)]
    for number, ((below, above), (_, unit_price, flat)) in enumerate(zip(pairwise(bounds), price.steps, strict=True)):
        assert below is not None
        reached = used > below or (number == 0 and price.flat_at_zero)
        inside = min(used, above if above is not None else used) - below
        if price.model == "package":
            packages = -((Fraction(price.free_units) - used) // Fraction(price.package_size or 1))
            total = Fraction(max(packages, 0)) * Fraction(unit_price) + (Fraction(flat) if reached else 0)
        elif price.model == "volume":
            total = used * Fraction(unit_price) + Fraction(flat) if reached else total
        else:
            total += max(inside, Fraction(0)) * Fraction(unit_price) + (Fraction(flat) if reached else 0)
    return half_up(total * (1 - Fraction(price.discount)))


def half_up(value: Fraction) -> Decimal:
    exact = WIDE.divide(Decimal(value.numerator), Decimal(value.denominator))
    return exact.quantize(Decimal("1e-18"), rounding=ROUND_HALF_UP, context=WIDE)


def aggregate(aggregation: str, quantities: list[Decimal]) -> Decimal:
    if aggregation == "count":
        return Decimal(len(quantities))
    return max(quantities) if aggregation == "max" else sum(quantities, Decimal(0))


def prices(model: str, scale: int = SCALE) -> st.SearchStrategy[Price]:
    """Random prices of a model; tier bounds and packages have `scale` decimals."""
    unit_prices = st.decimals(0, 1000, places=15)
    fees = st.decimals(0, 1000, places=18)
    bound = st.decimals(Decimal(1).scaleb(-scale), 200, places=scale)
    bounds = st.lists(bound, max_size=0 if model in {"per_unit", "package"} else 4, unique=True).map(sorted)
    factors = st.decimals(0, 1, places=6)

    def build(
        cuts: list[Decimal],
        money: list[tuple[Decimal, Decimal]],
        package: tuple[Decimal, Decimal],
        zero: bool,
        part: tuple[Decimal, Decimal],
    ) -> Price:
        steps = [(up_to, *fee) for up_to, fee in zip([*cuts, None], money, strict=False)]
        size, free = package if model == "package" else (None, Decimal(0))
        return Price(model, steps, size, free, zero, *part)

    return st.builds(
        build,
        bounds,
        st.lists(st.tuples(unit_prices, fees), min_size=5, max_size=5),
        st.tuples(bound, st.decimals(0, 50, places=scale)),
        st.booleans(),
        st.tuples(factors, factors),
    )


@pytest.mark.parametrize("aggregation", ["sum", "count", "max"])
@pytest.mark.parametrize("model", ["per_unit", "graduated", "volume", "package"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


@pytest.mark.parametrize("model", ["per_unit", "graduated", "volume", "package"])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_f_is_what_the_plain_rule_says(model: str, data: st.DataObject) -> None:
    price = data.draw(prices(model))._replace(discount=Decimal(0))
    quantities = data.draw(st.lists(st.decimals(0, 300, places=SCALE), min_size=1, max_size=50))
    terms = price.world("sum").terms()
    rows = pl.DataFrame({"quanta": [int(quantity.scaleb(SCALE)) for quantity in quantities]}, schema={"quanta": pl.Int64})
    rows = rows.join(terms.usage.select("price", "at_zero"), how="cross")
    found = price_quanta(rows, "quanta", terms.steps, find_steps(rows, "quanta", terms.step_keys))
    assert found.to_list() == [int(oracle(price, quantity).scaleb(18, WIDE)) for quantity in quantities]


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_many_aggregates_in_one_batch_do_not_touch_each_other(data: st.DataObject) -> None:
    names = ["a", "b", "c"]
    made = {name: data.draw(prices(model)) for name, model in zip(names, ["graduated", "volume", "package"], strict=True)}
    world = World().meter(quantity_scale=SCALE).account()
    for name, price in made.items():
        rows = tiers(*((None if up_to is None else str(up_to), str(fee), str(flat)) for up_to, fee, flat in price.steps))
        more: Row = {"package_size": price.package_size, "free_units": price.free_units, "flat_at_zero": price.flat_at_zero}
        world.price(name, rows, own=False, model=price.model, plan_id=f"plan-{name}", **more)
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
    desk = Desk(one_price("package", tiers((None, "100")), package_size=Decimal(10), free_units=Decimal(10)).terms())
    desk.rate(*(event(f"e{i}", quantity) for i, quantity in enumerate(["10", "1", "9", "1"])))
    assert desk.postings["amount"].to_list() == [Decimal(0), Decimal(100), Decimal(0), Decimal(100)]


def test_a_forgiven_partial_package_is_more_free_units() -> None:
    desk = Desk(
        one_price("package", tiers((None, "100")), scale=2, package_size=Decimal(10), free_units=Decimal("9.99")).terms()
    )
    desk.rate(*(event(f"e{i}", quantity) for i, quantity in enumerate(["9.99", "0.01", "9.99", "0.01"])))
    assert desk.postings["amount"].to_list() == [Decimal(0), Decimal(100), Decimal(0), Decimal(100)]
