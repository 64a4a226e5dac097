"""Pools of units and of money: what they cover, in which order, and what goes on to the next period."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.limits.apply import apply_limits
from rating.limits.frames import COSTS
from rating.limits.pools import RollingBalance
from schemas.period import Period
from tests.examples import examples
from tests.limits_world import OCTOBER, Till, paid
from tests.rating_world import Row, World, event, instant, tiers

NOVEMBER, DECEMBER = OCTOBER.next(), OCTOBER.plus(2)
MONTHS = [OCTOBER, NOVEMBER, DECEMBER]


def world() -> World:
    """Two subscriptions of acme: video graduated at 2, from 100 on 1; phone at 3; and a fee of 50 a month on none."""
    made = World().meter("video", event_type="video", unit="minute").meter("phone", event_type="phone", unit="minute")
    made.price("video", tiers(("100", "2"), (None, "1")), own=False, meter_id="video", model="graduated")
    made.price("phone", tiers((None, "3")), own=False, meter_id="phone")
    return made.account().subscription().subscription("acme-2")


def used(kind: str, quantity: int, month: Period = OCTOBER, subject: str = "acme-1", name: str = "") -> Row:
    at = instant(f"{month}-15")
    return event(f"{name}{kind}{subject}{month}{quantity}", str(quantity), occurred_at=at, subject=subject, event_type=kind)


def shared(units: str = "100", limit_id: str = "pool", **more: Any) -> World:
    return add_pool(world(), units, limit_id, **more)


def add_pool(made: World, units: str, limit_id: str, **more: Any) -> World:
    told: dict[str, Any] = {"units": Decimal(units), "covers": ["phone", "video"], "account_id": "acme"}
    if "plan_id" in more or "subscription_id" in more:
        told.pop("account_id")
    return made.limit("pool", limit_id, **(told | more))


def credits(rows: pl.DataFrame) -> list[tuple[str, str, Decimal]]:
    """subscription, price covered, amount."""
    return rows.select("subscription_id", "price_version", "amount").rows()


def test_a_pool_covers_prices_in_the_order_in_which_it_names_them() -> None:
    till = Till(shared()).rate(used("video", 150), used("phone", 60))
    # 60 of phone, then 40 of video: 150 cost 250, 110 cost 210
    assert credits(till.close()) == [("acme-1", "phone", Decimal(-180)), ("acme-1", "video", Decimal(-40))]
    assert till.close().is_empty()


def test_a_pool_of_an_account_is_shared_by_its_subscriptions() -> None:
    till = Till(shared()).rate(used("phone", 70), used("phone", 70, subject="acme-2"))
    assert credits(till.close()) == [("acme-1", "phone", Decimal(-210)), ("acme-2", "phone", Decimal(-90))]


def test_a_pool_of_a_plan_is_of_each_subscription_and_for_each_licence() -> None:
    made = shared("10", plan_id="pro", per_licence=True)
    made.subscriptions[1]["licences"] = 3
    till = Till(made).rate(used("phone", 70), used("phone", 70, subject="acme-2"))
    assert credits(till.close()) == [("acme-1", "phone", Decimal(-30)), ("acme-2", "phone", Decimal(-90))]


def test_late_usage_of_a_dearer_price_moves_what_the_pool_covers() -> None:
    till = Till(shared()).rate(used("video", 150))
    assert credits(till.close()) == [("acme-1", "video", Decimal(-150))]
    till.rate(used("phone", 60))
    assert credits(till.close(NOVEMBER)) == [("acme-1", "phone", Decimal(-180)), ("acme-1", "video", Decimal(110))]


def test_a_discount_is_given_on_what_is_covered_too() -> None:
    till = Till(shared().discount("phone", "0.5")).rate(used("phone", 60))
    assert credits(till.close()) == [("acme-1", "phone", Decimal(-90))]
    assert paid(till, "2026-10") == 0


def test_the_lower_priority_is_used_first() -> None:
    made = add_pool(shared("50", "second", priority=200), "30", "first", covers=["phone"])
    till = Till(made).rate(used("phone", 60))
    assert till.amounts(till.close()) == {("2026-10", "first"): Decimal(-90), ("2026-10", "second"): Decimal(-90)}


def test_money_covers_what_units_left() -> None:
    made = shared("50").limit("pool", "money", account_id="acme", amount=Decimal(100), priority=1)
    till = Till(made).rate(used("phone", 60))
    assert till.amounts(till.close()) == {("2026-10", "money"): Decimal(-30), ("2026-10", "pool"): Decimal(-150)}


def test_money_covers_fees_where_it_says_so() -> None:
    made = world().price(
        "fee", tiers((None, "50")), own=False, charge="recurring", model="flat", interval="month", meter_id=None
    )
    made.limit("pool", "money", subscription_id="acme-1", amount=Decimal(80), fees=True)
    till = Till(made).rate(used("phone", 60))
    assert credits(till.close().filter(charge="pool")) == [("acme-1", "fee", Decimal(-50)), ("acme-1", "phone", Decimal(-30))]


def test_a_floor_holds_although_a_pool_covers_everything() -> None:
    made = shared("1000")
    made.prices[1] |= {"floor": Decimal(20), "floor_prorated": True}
    till = Till(made).rate(used("phone", 60))
    till.close()
    assert till.amounts()["2026-10", "phone/floor"] == Decimal(40)  # of both subscriptions
    assert paid(till, "2026-10") == Decimal(40)


def test_prices_per_event_are_not_covered_by_units() -> None:
    made = shared()
    made.prices[1] |= {"per": "event"}
    assert Till(made).rate(used("phone", 60)).close().is_empty()


def test_half_a_period_has_half_a_pool() -> None:
    till = Till(shared("90", valid_from=instant("2026-11-16"))).rate(used("phone", 60, NOVEMBER), used("phone", 60))
    till.close()
    assert till.amounts(till.close(NOVEMBER)) == {("2026-11", "pool"): Decimal(-135)}


@pytest.mark.parametrize(("kept", "covered"), [(None, [10, 190, 100]), ("50", [10, 150, 100]), ("0", [10, 100, 100])])
def test_what_is_left_goes_on_to_the_next_period(kept: str | None, covered: list[int]) -> None:
    limit = None if kept is None else Decimal(kept)
    till = Till(shared(roll_over_periods=1, roll_over_up_to=limit))
    till.rate(used("phone", 10), used("phone", 500, NOVEMBER), used("phone", 500, DECEMBER))
    for month in MONTHS:
        till.close(month)
    assert list(till.amounts().values()) == [-3 * units for units in covered]


def test_what_was_kept_is_used_before_it_expires() -> None:
    balance = RollingBalance(periods=2, kept=None)
    assert balance.use(1, 100, 40) == 100
    assert balance.use(2, 100, 70) == 160  # 60 of the first are used and 10 of the second
    assert balance.use(3, 100, 0) == 190
    assert balance.use(4, 100, 0) == 290  # 90 of the second are there for the last time
    assert balance.use(5, 100, 0) == 300
    assert balance.use(9, 100, 0) == 100


def test_late_usage_of_a_closed_period_takes_from_what_was_kept() -> None:
    till = Till(shared(roll_over_periods=1)).rate(used("phone", 150, NOVEMBER))
    till.close()
    assert till.amounts(till.close(NOVEMBER)) == {("2026-11", "pool"): Decimal(-450)}
    till.rate(used("phone", 80, name="late"))
    assert till.amounts(till.close(DECEMBER)) == {("2026-10", "pool"): Decimal(-240), ("2026-11", "pool"): Decimal(90)}


def test_subscriptions_that_share_an_aggregate_share_what_its_tiers_give_back() -> None:
    made = shared("80", covers=["video"])
    till = Till(made)
    limits = till.limits()
    row = {"account_id": "acme", "counted_for": "acme", "price_id": "video", "price_version": "2026-01-01", "fee": False}
    parts = [("acme-1", 90, 180), ("acme-2", 60, 70)]  # 150 of both cost 250
    costs = pl.DataFrame(
        [
            row | {"subscription_id": name, "month": "2026-10", "quanta": quanta, "scaled": amount * 10**18}
            for name, quanta, amount in parts
        ],
        schema_overrides={"scaled": pl.Int128},
    )
    for order in (costs, costs.reverse()):
        dues = apply_limits(order.select(COSTS.names()), limits, OCTOBER, OCTOBER)
        # 80 units off 150: the last 50 at 1, then 30 at 2; all of them are units of acme-1, the first by name
        assert dues.select("subscription_id", "counted", "scaled").rows() == [("acme-1", 80, -110 * 10**18)]
    wide = shared("100", covers=["video"])
    dues = apply_limits(costs.select(COSTS.names()), Till(wide).limits(), OCTOBER, OCTOBER)
    assert dues.select("subscription_id", "scaled").rows() == [("acme-1", -130 * 10**18), ("acme-2", -20 * 10**18)]


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["video", "phone"]), st.sampled_from(["acme-1", "acme-2"]), st.integers(1, 150)
    ),
    max_size=8,
)


@examples(7)
@given(
    events=EVENTS,
    units=st.integers(0, 250),
    periods=st.integers(0, 2),
    kept=st.one_of(st.none(), st.integers(0, 150)),
    late=st.integers(0, 8),
    data=st.data(),
)
def test_a_pool_never_covers_more_than_it_has_and_keeps_what_it_did_not_cover(
    events: list[tuple[int, str, str, int]], units: int, periods: int, kept: int | None, late: int, data: st.DataObject
) -> None:
    made = shared(str(units), roll_over_periods=periods, roll_over_up_to=None if kept is None else Decimal(kept))
    till = Till(made)
    order = data.draw(st.permutations([used(k, q, MONTHS[m], s, f"{n}-") for n, (m, k, s, q) in enumerate(events)]))
    for row in order[late:]:
        till.rate(row)
    till.close()
    till.rate(*order[:late])
    for month in [NOVEMBER, DECEMBER]:
        till.close(month)
    limits = till.limits()
    dues = apply_limits(till.costs(till.posted.clear(), limits, DECEMBER), limits, OCTOBER, DECEMBER)
    buckets: list[tuple[int, int]] = []  # month in which it was given, what is left
    for number, month in enumerate(MONTHS):
        wanted = sum(q for m, _, _, q in events if m == number)
        carried = [(born, left) for born, left in buckets if born + periods >= number]
        beyond = 0 if kept is None else max(0, sum(left for _, left in carried) - kept)
        buckets = [*without(carried, beyond), (number, units)]
        available = sum(left for _, left in buckets)
        covered = min(available, wanted)
        mine = dues.filter(pl.col("usage_period").dt.strftime("%Y-%m") == str(month))
        assert mine["counted"].sum() == covered
        assert mine["size"].unique().to_list() in ([], [available])
        buckets = without(buckets, covered)
        assert sum(left for _, left in buckets) == available - covered
        assert paid(till, str(month)) == oracle(events, number, covered)


def without(buckets: list[tuple[int, int]], amount: int) -> list[tuple[int, int]]:
    """The buckets after so much was taken from the first on."""
    left = []
    for born, content in buckets:
        left.append((born, content - min(content, amount)))
        amount -= min(content, amount)
    return left


def oracle(events: list[tuple[int, str, str, int]], month: int, covered: int) -> Decimal:
    """What is left to pay when so many units are taken off: of phone first, then video, of acme-1 before acme-2."""
    total = Decimal(0)
    for kind in ("phone", "video"):
        for subject in ("acme-1", "acme-2"):
            quantity = sum(q for m, k, s, q in events if (m, k, s) == (month, kind, subject))
            rest = quantity - min(quantity, covered)
            covered -= quantity - rest
            total += 3 * rest if kind == "phone" else min(rest, 100) * 2 + max(rest - 100, 0)
    return total
