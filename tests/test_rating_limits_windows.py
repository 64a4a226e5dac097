"""Commitments with true-up and overage, and caps: in a usage period and over a contract."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.period import Period
from tests.examples import examples
from tests.limits_world import OCTOBER, Till, paid
from tests.rating_world import Row, World, event, instant, one_price, tiers

NOVEMBER, DECEMBER = OCTOBER.next(), OCTOBER.plus(2)
MONTHS = [OCTOBER, NOVEMBER, DECEMBER]
TERM: dict[str, Any] = {"over": "term", "valid_from": instant("2026-10-01"), "valid_to": instant("2027-01-01")}


def world(price: str = "2") -> World:
    """Two subscriptions of acme, each with a price of minutes and one of calls."""
    made = one_price("per_unit", tiers((None, price)))
    made.meter("calls", event_type="called").price("calls", tiers((None, "1")), own=False, meter_id="calls")
    return made.subscription("acme-2")


def used(quantity: int, month: Period = OCTOBER, subject: str = "acme-1", kind: str = "used", name: str = "") -> Row:
    at = instant(f"{month}-15")
    return event(f"{name}{kind}{subject}{month}{quantity}", str(quantity), occurred_at=at, subject=subject, event_type=kind)


def committed(amount: str, **more: Any) -> World:
    return world().limit("commitment", amount=Decimal(amount), **({"account_id": "acme"} | more))


def capped(amount: str, **more: Any) -> World:
    return world().limit("cap", amount=Decimal(amount), **({"account_id": "acme"} | more))


def test_what_is_missing_to_a_commitment_is_due_once_for_the_account() -> None:
    till = Till(committed("100")).rate(used(10), used(5, subject="acme-2"), used(20, kind="called"))
    rows = till.close()
    assert rows.select("charge", "subscription_id", "amount", "quantity_quanta").rows() == [("commitment", "", Decimal(50), 0)]
    assert till.close().is_empty()


def test_a_commitment_of_listed_prices_looks_at_no_other() -> None:
    till = Till(committed("100", covers=["calls"])).rate(used(10), used(20, kind="called"))
    assert till.amounts(till.close()) == {("2026-10", "limit"): Decimal(80)}


def test_a_commitment_of_a_plan_is_of_each_subscription_that_holds_it() -> None:
    till = Till(world().limit("commitment", plan_id="pro", amount=Decimal(100))).rate(used(10), used(60, subject="acme-2"))
    rows = till.close()
    assert rows.select("subscription_id", "amount").rows() == [("acme-1", Decimal(80))]


@pytest.mark.parametrize(("fees", "due"), [(True, "40"), (False, "100")])
def test_fees_count_where_the_commitment_says_so(fees: bool, due: str) -> None:
    made = world().limit("commitment", plan_id="pro", amount=Decimal(100), fees=fees)
    made.subscriptions.pop()
    made.price("fee", tiers((None, "60")), own=False, charge="recurring", model="flat", interval="month", meter_id=None)
    till = Till(made)
    assert till.amounts(till.close())["2026-10", "limit"] == Decimal(due)


def test_a_yearly_fee_counts_in_the_usage_period_in_which_it_begins() -> None:
    made = world().limit("commitment", plan_id="pro", amount=Decimal(100), fees=True)
    made.subscriptions.pop()
    made.accounts[0]["billing_day"] = 20
    made.subscriptions[0]["active_from"] = instant("2026-11-10")
    made.price("fee", tiers((None, "365")), own=False, charge="recurring", model="flat", interval="year", meter_id=None)
    till = Till(made)
    till.close()
    till.close(NOVEMBER)
    # 10 of 31 days of the period from 20 October, in which the year of the fee begins on 10 November
    assert till.amounts() == {("2026-11", "limit"): Decimal(100)}


@pytest.mark.parametrize(
    ("used_units", "factor", "extra"), [(30, "2", None), (80, "2", "60"), (80, "0.5", "-30"), (50, "3", None)]
)
def test_what_is_beyond_the_commitment_costs_so_many_times(used_units: int, factor: str, extra: str | None) -> None:
    made = committed("100", overage_factor=Decimal(factor), true_up=False)
    till = Till(made).rate(used(used_units))
    expected = {} if extra is None else {("2026-10", "limit/overage"): Decimal(extra)}
    assert till.amounts(till.close()) == expected


def test_late_usage_turns_a_true_up_into_an_overage() -> None:
    till = Till(committed("100", overage_factor=Decimal(2))).rate(used(30))
    assert till.amounts(till.close()) == {("2026-10", "limit"): Decimal(40)}
    till.rate(used(40, name="late"))
    assert till.amounts(till.close(NOVEMBER)) == {
        ("2026-10", "limit"): Decimal(-40),
        ("2026-10", "limit/overage"): Decimal(40),
        ("2026-11", "limit"): Decimal(100),
    }
    assert paid(till, "2026-10") == Decimal(180)


def test_a_contract_is_trued_up_when_its_last_usage_period_is_closed() -> None:
    till = Till(committed("1000", **TERM)).rate(used(100), used(150, NOVEMBER), used(50, DECEMBER))
    assert [till.amounts(till.close(month)) for month in MONTHS] == [{}, {}, {("2026-12", "limit"): Decimal(400)}]
    till.rate(used(7, name="late"))
    assert till.amounts(till.close(DECEMBER.next())) == {("2026-12", "limit"): Decimal(-14)}


def test_what_was_spent_before_billing_began_here_counts_for_a_contract() -> None:
    began: dict[str, Any] = TERM | {"valid_from": instant("2026-07-01"), "spent": Decimal(700)}
    made = committed("1000", overage_factor=Decimal(2), **began)
    made.limit("cap", "most", account_id="acme", amount=Decimal(1010), **began)
    till = Till(made).rate(used(100), used(55, NOVEMBER))
    assert [till.amounts(till.close(month)) for month in MONTHS] == [
        {},
        {("2026-11", "limit/overage"): Decimal(10), ("2026-11", "most"): Decimal(-10)},
        {},
    ]
    assert till.amounts(Till(committed("1000", **began)).close(DECEMBER)) == {("2026-12", "limit"): Decimal(300)}


def test_the_overage_of_a_contract_begins_in_the_period_that_crosses_it() -> None:
    till = Till(committed("100", overage_factor=Decimal(3), **TERM)).rate(used(40), used(30, NOVEMBER), used(10, DECEMBER))
    assert [till.amounts(till.close(month)) for month in MONTHS] == [
        {},
        {("2026-11", "limit/overage"): Decimal(80)},
        {("2026-12", "limit/overage"): Decimal(40)},
    ]


@pytest.mark.parametrize(("prorated", "due"), [(True, "50"), (False, "100")])
def test_a_commitment_of_a_part_of_a_period_is_due_by_the_day_if_it_says_so(prorated: bool, due: str) -> None:
    made = committed("100", prorated=prorated, valid_from=instant("2026-11-16"))
    till = Till(made)
    till.close()
    till.close(NOVEMBER)
    assert till.amounts() == {("2026-11", "limit"): Decimal(due)}


def test_a_cap_gives_back_what_is_beyond_it() -> None:
    till = Till(capped("100")).rate(used(30), used(45, subject="acme-2"))
    rows = till.close()
    assert rows.select("charge", "subscription_id", "amount").rows() == [("cap", "", Decimal(-50))]
    assert paid(till, "2026-10") == Decimal(100)


def test_a_cap_of_a_contract_lets_nothing_more_through_once_it_is_reached() -> None:
    till = Till(capped("100", **TERM)).rate(used(40), used(30, NOVEMBER), used(10, DECEMBER))
    assert [till.amounts(till.close(month)) for month in MONTHS] == [
        {},
        {("2026-11", "limit"): Decimal(-40)},
        {("2026-12", "limit"): Decimal(-20)},
    ]


def test_limits_apply_in_their_order_from_a_line_to_the_account() -> None:
    made = (
        world()
        .limit("commitment", "own", plan_id="pro", amount=Decimal(50))
        .limit("cap", "most", account_id="acme", amount=Decimal(400))
    )
    made.limit("commitment", "whole", account_id="acme", amount=Decimal(150)).prices[1] |= {
        "floor": Decimal(30),
        "floor_prorated": True,
    }
    till = Till(made).rate(used(5))
    # acme-1: 10 of minutes, calls raised to 30, 10 to its 50; acme-2: calls raised to 30, 20 to its 50; acme: 50 to its 150
    assert till.close().select("subscription_id", "price_id", "amount").rows() == [
        ("", "whole", Decimal(50)),
        ("acme-1", "calls/floor", Decimal(30)),
        ("acme-1", "own", Decimal(10)),
        ("acme-2", "calls/floor", Decimal(30)),
        ("acme-2", "own", Decimal(20)),
    ]
    till.rate(used(300, name="more"))
    assert till.amounts(till.close(NOVEMBER))["2026-10", "most"] == Decimal(-290)
    assert paid(till, "2026-10") == Decimal(400)


def test_a_contract_counts_what_the_commitment_of_a_period_added() -> None:
    made = committed("50", limit_id="monthly").limit("commitment", "yearly", account_id="acme", amount=Decimal(200), **TERM)
    till = Till(made).rate(used(10))
    for month in MONTHS:
        till.close(month)
    assert till.amounts() == {
        ("2026-10", "monthly"): Decimal(30),
        ("2026-11", "monthly"): Decimal(50),
        ("2026-12", "monthly"): Decimal(50),
        ("2026-12", "yearly"): Decimal(50),
    }


def test_a_limit_that_is_withdrawn_is_taken_back() -> None:
    till = Till(committed("100"))
    till.close()
    till.world.own_limits.clear()
    assert till.amounts(till.close(NOVEMBER)) == {("2026-10", "limit"): Decimal(-100)}


def test_partners_have_no_part_in_it() -> None:
    till = Till(committed("100").share("usage", "0.2")).rate(used(10))
    assert till.close().select("role", "partner_id").rows() == [("revenue", None)]


QUANTITIES = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["acme-1", "acme-2"]), st.integers(0, 120)), max_size=8)


@examples(7)
@given(
    events=QUANTITIES,
    amount=st.integers(1, 300),
    factor=st.sampled_from([None, "0.5", "2.25"]),
    term=st.booleans(),
    cap=st.integers(0, 200),
    late=st.integers(0, 8),
    data=st.data(),
)
def test_usage_and_what_limits_add_agree_with_an_oracle_for_any_order_and_any_lateness(
    events: list[tuple[int, str, int]], amount: int, factor: str | None, term: bool, cap: int, late: int, data: st.DataObject
) -> None:
    over = TERM if term else {}
    made = committed(str(amount), overage_factor=None if factor is None else Decimal(factor), **over)
    made.limit("cap", "most", account_id="acme", amount=Decimal(amount + cap), **over)
    rows = [used(q, MONTHS[month], who, name=f"{n}-") for n, (month, who, q) in enumerate(events)]
    till = Till(made)
    order = data.draw(st.permutations(rows))
    for row in order[late:]:
        till.rate(row)
    till.close()
    till.rate(*order[:late])
    for month in [NOVEMBER, DECEMBER, DECEMBER.next()]:
        till.close(month)
    spent = [Decimal(2 * sum(q for month, _, q in events if month == number)) for number in range(3)]
    windows = [spent] if term else [[part] for part in spent]
    owed = Decimal(0)
    for window in windows:
        total = sum(window, Decimal(0))
        beyond = max(total - amount, Decimal(0))
        owed += min(max(total, Decimal(amount)) + beyond * (Decimal(factor or 1) - 1), Decimal(amount + cap))
    found = pl.concat([till.desk.postings, till.posted]).filter(pl.col("usage_month") <= "2026-12")["amount"]
    assert sum(found.to_list(), Decimal(0)) == owed
    assert till.close(DECEMBER.next()).is_empty()
