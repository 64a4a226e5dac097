"""The arithmetic at its edges: nothing wraps, factors round half-up, limits are found before they are needed."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.kernel import MILLION, apply_factor
from rating.periods import local_day, period_end, period_start
from rating.steps import Step
from rating.tiers import MAX_QUANTA, PRICE_LIMIT, cut_at_limit, lower_prices
from schemas.money import AMOUNT_LIMIT
from tests.examples import examples
from tests.rating_world import instant, one_price, tiers

WIDE = Context(prec=100)


def value(step: Step, quanta: int) -> int:
    return step.base + step.unit_price * -(-(quanta - step.from_quanta) // step.package_quanta)


@examples(60)
@given(st.lists(st.tuples(st.integers(1 - AMOUNT_LIMIT, AMOUNT_LIMIT - 1), st.integers(0, MILLION)), min_size=1, max_size=30))
def test_a_factor_is_applied_exactly_up_to_38_digits(pairs: list[tuple[int, int]]) -> None:
    money, factors = zip(*pairs, strict=True)
    frame = pl.DataFrame({"money": pl.Series(money, dtype=pl.Int128), "factor": pl.Series(factors, dtype=pl.Int64)})
    got = frame.select(apply_factor(pl.col("money"), pl.col("factor")))["money"].to_list()
    for amount, factor, result in zip(money, factors, got, strict=True):
        exact = WIDE.divide(WIDE.multiply(Decimal(amount), Decimal(factor)), Decimal(MILLION))
        assert result == int(exact.to_integral_value(rounding=ROUND_HALF_UP, context=WIDE))


steps = st.builds(
    Step,
    st.just(0),
    st.integers(0, MAX_QUANTA),
    st.integers(-AMOUNT_LIMIT, AMOUNT_LIMIT),
    st.integers(-AMOUNT_LIMIT, AMOUNT_LIMIT),
    st.integers(1, 10**12),
)


@examples(100)
@given(st.lists(steps, min_size=1, max_size=4, unique_by=lambda step: step.from_quanta))
def test_up_to_its_limit_a_price_stays_within_what_is_exact(drawn: list[Step]) -> None:
    ordered = sorted(drawn, key=lambda step: step.from_quanta)
    ordered[0] = ordered[0]._replace(from_quanta=0)
    reachable, limit = cut_at_limit(ordered)
    assert 0 <= limit <= MAX_QUANTA
    ends = [*(step.from_quanta for step in reachable[1:]), limit]
    for step, end in zip(reachable, ends, strict=True):
        for quanta in {step.from_quanta + 1, end} - {0}:
            if step.from_quanta < quanta <= end:
                assert abs(value(step, quanta)) < PRICE_LIMIT
    assert abs(reachable[-1].base) < PRICE_LIMIT


def test_the_limit_is_the_last_quantity_that_fits() -> None:
    price = 10**35
    _, limit = cut_at_limit([Step(0, 0, 0, price)])
    assert price * limit < PRICE_LIMIT <= price * (limit + 1)


def test_a_bounded_last_tier_bounds_the_quantity() -> None:
    world = one_price("graduated", tiers(("10", "1"), ("20", "2")))
    book = world.book()
    prices = book.prices.with_columns(quantity_scale=pl.lit(0, pl.Int8))
    assert lower_prices(prices, book.tiers).prices["max_quanta"].to_list() == [20]


def test_prices_of_38_digits_rate_without_a_wrap() -> None:
    world = one_price(steps=tiers((None, "49999999999999999999")))
    terms = world.terms()
    assert terms.prices["max_quanta"].to_list() == [1]


@pytest.mark.parametrize(
    ("moment", "zone", "billing_day", "start", "end"),
    [
        ("2026-10-31T16:00:00", "Asia/Shanghai", 1, "2026-11-01", "2026-12-01"),
        ("2026-10-31T15:59:59", "Asia/Shanghai", 1, "2026-10-01", "2026-11-01"),
        ("2026-03-01T04:59:59", "America/New_York", 28, "2026-02-28", "2026-03-28"),
        ("2026-02-28T04:59:59", "America/New_York", 28, "2026-01-28", "2026-02-28"),
        ("2026-03-29T00:59:59", "Europe/Berlin", 28, "2026-03-28", "2026-04-28"),
        ("2026-11-01T03:59:59", "America/New_York", 1, "2026-10-01", "2026-11-01"),
        ("2026-11-01T04:00:00", "America/New_York", 1, "2026-11-01", "2026-12-01"),
        ("2024-02-29T12:00:00", "UTC", 15, "2024-02-15", "2024-03-15"),
    ],
)
def test_a_moment_falls_into_the_period_of_its_zone(moment: str, zone: str, billing_day: int, start: str, end: str) -> None:
    frame = pl.DataFrame({"at": [instant(moment)], "zone": [zone], "day": pl.Series([billing_day], dtype=pl.Int8)})
    begins = frame.with_columns(local_day(frame, "at")).select(start=period_start(pl.col("at"), pl.col("day")), day="day")
    row = begins.select("start", end=period_end(pl.col("start"), pl.col("day"))).row(0)
    assert tuple(map(str, row)) == (start, end)
