"""Cases of minimums and commitments, transcribed from what other billing systems assert, from usage to closed months."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from schemas.money import round_money
from schemas.period import Period
from tests.limits_world import OCTOBER, Till
from tests.rating_world import Row, event, instant, one_price, tiers
from tests.vector_cases import Case, cases_of

LIMIT_MODELS = {"minimum", "window_commitment", "cumulative_commitment"}
NOVEMBER = OCTOBER.next()


def used(quantity: str, day: str = "2026-10-31", kind: str = "used") -> Row:
    return event(f"{kind}{day}{quantity}", quantity, occurred_at=instant(day), event_type=kind)


def window_of_a_month(case: Case) -> Decimal:
    """A window is a usage period: 2 units in one and 8 in the next."""
    charge = case["charge"]
    world = one_price("per_unit", tiers((None, charge["unit_price"]))).limit(
        "commitment",
        account_id="acme",
        amount=Decimal(charge["commitment"]),
        overage_factor=Decimal(charge["overage_factor"]),
        true_up=charge["true_up"],
    )
    till = Till(world)
    for quantity, month in zip(case["quantities"], (OCTOBER, NOVEMBER), strict=True):
        till.rate(used(quantity, f"{month}-15")).close(month)
    return till.total()


def contract_that_was_crossed(case: Case) -> Decimal:
    """What was used before stands in October, what is asked in November; the case names it in its formula."""
    charge = case["charge"]
    now = case["check"].split("*")[0]
    world = one_price("per_unit", tiers((None, "1"))).limit(
        "commitment",
        account_id="acme",
        amount=Decimal(charge["commitment"]),
        overage_factor=Decimal(charge["overage_factor"]),
        over="term",
        valid_from=instant("2026-10-01"),
        valid_to=instant("2027-10-01"),
    )
    till = Till(world).rate(used(case["expected"]["used_before"]))
    till.close()
    before = till.total()
    till.rate(used(now, "2026-11-15")).close(NOVEMBER)
    return till.total() - before


def floor_of_one_of_two_lines(case: Case) -> Decimal:
    """3 on the line with the minimum, 4 on another; the case names them in its formula."""
    floored, other = case["check"].removeprefix("max(").replace(",5)+", " ").split()
    world = one_price("per_unit", tiers((None, "1")), floor=Decimal(case["charge"]["min"]), floor_prorated=True)
    world.meter("beyond", event_type="beyond").price("beyond", tiers((None, "1")), own=False, meter_id="beyond")
    till = Till(world).rate(used(floored), used(other, kind="beyond"))
    till.close()
    return till.total()


def minimum_of_money(case: Case) -> Decimal:
    """What is missing to the minimum, as a line prints it."""
    world = one_price("per_unit", tiers((None, "0.001")), scale=0, floor=Decimal(case["charge"]["min"]), floor_prorated=True)
    quantity = Decimal(case["charge"]["used"]) * 1000
    till = Till(world).rate(used(f"{quantity:f}".split(".")[0]))
    return round_money(sum(till.close()["amount"].to_list(), Decimal(0)), "CNY")


def minimum_of_days(case: Case) -> Decimal:
    """A minimum for a part of a usage period, less the plan's fee for the same part or the line's usage; minor units."""
    charge = case["charge"]
    month, start = month_of(charge.get("days", 1), charge.get("days_in_period", 1))
    if "plan_minor" in charge:
        world = one_price("per_unit", tiers((None, "1")))
        world.limit("commitment", plan_id="pro", amount=Decimal(charge["min_minor"]), fees=True)
        fee = tiers((None, str(charge["plan_minor"])))
        world.price("fee", fee, own=False, charge="recurring", model="flat", interval="month", meter_id=None)
    else:
        world = one_price("per_unit", tiers((None, "1")), floor=Decimal(charge["min_minor"]), floor_prorated=True)
    world.subscriptions[0]["active_from"] = start
    till = Till(world, month)
    if "used_minor" in charge:
        till.rate(used(str(charge["used_minor"]), start.date().isoformat()))
    made = till.close(month).filter(charge="commitment" if "plan_minor" in charge else "floor")
    return round_money(sum(made["amount"].to_list(), Decimal(0)), "JPY")


def month_of(days: int, of_days: int) -> tuple[Period, datetime]:
    """A month of which the same part is left from a day on: 5 of 7 days are 20 of the 28 of a February."""
    for month in (Period(2026, number) for number in range(1, 13)):
        length = monthrange(month.year, month.month)[1]
        if length % of_days == 0 or of_days == 1:
            first = datetime(month.year, month.month, 1, tzinfo=UTC)
            return month, first + timedelta(days=length - length * days // of_days)
    raise AssertionError(f"no month has {days}/{of_days} of its days left from any day on")


HOW: dict[str, Callable[[Case], Decimal]] = {
    "flexprice_commitments-001": window_of_a_month,
    "flexprice_commitments-007": contract_that_was_crossed,
    "flexprice_commitments-009": floor_of_one_of_two_lines,
    "flexprice_rounding-028": minimum_of_money,
    "lago_commitments-002": minimum_of_days,
    "lago_commitments-007": minimum_of_days,
    "lago_commitments-012": minimum_of_days,
}
"""Case -> how it is written as a price book and closed."""


@pytest.mark.parametrize("case", cases_of(LIMIT_MODELS), ids=lambda case: case["id"])
def test_a_minimum_or_commitment_of_a_peer_comes_to_what_it_asserts(case: Case) -> None:
    assert HOW[case["id"]](case) == Decimal(case["expected"]["amount"])


def test_every_way_of_reading_is_used() -> None:
    assert {case["id"] for case in cases_of(LIMIT_MODELS)} == set(HOW)
