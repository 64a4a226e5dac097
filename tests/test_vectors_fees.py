"""The cases of tests/vectors about fees by the month and year, as a bill run posts them: in advance, by the day."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from rating.recurring import post_fees
from schemas.ledger import POSTINGS
from schemas.period import Period
from tests.rating_world import World, tiers
from tests.vector_cases import Case, cases_of, rounded

FEE_MODELS = {"flat", "prorated_recurring", "prorated_flat", "prorated_swap", "plan_change_proration"}

MONTHS = {28: Period(2026, 2), 29: Period(2028, 2), 30: Period(2026, 11), 31: Period(2026, 10)}
"""A month of so many days."""

YEAR = 365
WEEK = 7  # read as a quarter of the 28 days of a February
LONG_AGO = Period(2000, 1)


def fees(fee: str, plan: str = "pro", interval: str = "month", **subscription: date | None) -> World:
    """A world with one fee of one plan."""
    return add_fee(World().account(), fee, plan, interval, **subscription)


def add_fee(world: World, fee: str, plan: str, interval: str = "month", **subscription: date | None) -> World:
    more = {"charge": "recurring", "model": "flat", "interval": interval, "meter_id": None, "plan_id": plan}
    world.price(plan, tiers((None, fee)), own=False, valid_from=midnight(date(2000, 1, 1)), **more)
    spans: dict[str, Any] = {name: None if day is None else midnight(day) for name, day in subscription.items()}
    return world.subscription("acme-1", plan_id=plan, **spans)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def posted(world: World, period: Period, before: pl.DataFrame, starts: Period) -> pl.DataFrame:
    return post_fees(period, world.terms(), before, starts)


def total(rows: pl.DataFrame) -> Decimal:
    return sum(rows["amount"].to_list(), Decimal(0))


@pytest.mark.parametrize("case", cases_of({"prorated_recurring"}), ids=lambda case: case["id"])
def test_what_has_begun_by_the_target_is_due_and_its_ends_by_the_day(case: Case) -> None:
    """The run is that of the last usage period that has ended by the target."""
    charge = case["charge"]
    assert (charge["billing"], charge["months"]) == ("in_advance", 1)
    start, target = date.fromisoformat(charge["start"]), date.fromisoformat(charge["target"])
    end = date.fromisoformat(charge["end"]) if charge["end"] else None
    world = fees(charge["price"], active_from=start, active_to=end)
    world.accounts[0]["billing_day"] = charge["billing_cycle_day"]
    month = Period.of(target) if target.day >= charge["billing_cycle_day"] else Period.of(target).previous()
    rows = posted(world, month.previous(), POSTINGS.empty(), LONG_AGO)
    assert rounded(total(rows), case["rounding"]) == Decimal(case["expected"]["amount"])


@pytest.mark.parametrize("case", cases_of({"prorated_flat"}), ids=lambda case: case["id"])
def test_a_fee_is_due_for_the_days_that_are_left_of_the_month(case: Case) -> None:
    """A trial is a later start. Where a case counts seconds to 23:59:59, they are whole days; a week is a February."""
    charge = case["charge"]
    if "seconds_in_period" in charge:
        held, days = ((charge[name] + 1) // 86_400 for name in ("seconds_left", "seconds_in_period"))
    else:
        held, days = charge["days_billed"], charge["days_in_period"]
    if days == WEEK:
        held, days = 4 * held, 4 * days
    month = MONTHS[days]
    begins = month.first_day + timedelta(days=days - held)
    rows = posted(fees(charge["full_price"], active_from=begins), month, POSTINGS.empty(), month)
    amount = total(rows.filter(usage_month=str(month)))
    assert rounded(amount, case["rounding"]) == Decimal(case["expected"]["amount"])


def swap(old: str | None, new: str | None, days_left: int, days: int) -> list[Decimal]:
    """What a change of plan posts when the month was billed before: for the old plan and the new one, exact."""
    month = MONTHS[days]
    change = month.first_day + timedelta(days=days - days_left)
    before, after = World().account(), World().account()
    if old is not None:
        add_fee(before, old, "old", active_from=date(2020, 1, 1))
        add_fee(after, old, "old", active_from=date(2020, 1, 1), active_to=change)
    if new is not None:
        add_fee(after, new, "new", active_from=change)
    first = posted(before, month.previous(), POSTINGS.empty(), month)
    rows = posted(after, month.previous(), first, month).filter(usage_month=str(month))
    return [total(rows.filter(price_id=name)) for name, fee in (("old", old), ("new", new)) if fee is not None]


def year_of(fee: str, days: int) -> list[Decimal]:
    """What a yearly fee costs for so many days."""
    start = date(2026, 3, 1)
    rows = posted(fees(fee, interval="year", active_from=start, active_to=start + timedelta(days)), *_whole(start))
    return [total(rows)]


def _whole(start: date) -> tuple[Period, pl.DataFrame, Period]:
    return Period.of(start), POSTINGS.empty(), Period.of(start)


@pytest.mark.parametrize("case", cases_of({"prorated_swap", "plan_change_proration"}), ids=lambda case: case["id"])
def test_a_change_of_plan_gives_back_what_is_left_and_charges_the_new_one_each_line_rounded(case: Case) -> None:
    charge = case["charge"]
    if "days_in_period" in charge:
        old = None if charge["old"] == "0" else charge["old"]
        lines = swap(old, charge["new"], charge.get("days_left", charge.get("days")), charge["days_in_period"])
    else:
        lines = change_of_check(case["check"], charge["period_days"])
    rounding = "half_up to 0 decimals" if "minor" in case["currency"] else "half_up to 2 decimals"
    amounts = [rounded(line, rounding) for line in lines]
    assert sum(amounts) == Decimal(case["expected"]["amount"])
    if "lines" in case["expected"]:
        assert amounts == [Decimal(line) for line in case["expected"]["lines"]]


def change_of_check(check: str, period_days: int) -> list[Decimal]:
    """The change that a case states only in its formula: `-rnd(F(old*days,period),0)+rnd(F(new*days,period),0)`."""
    part = r"([+-]?)(?:rnd\(F\((\d+)(?:\*(\d+))?,(\d+)\),0\)|(\d+))"
    assert re.fullmatch(f"(?:{part})+", check), check
    said: dict[str, tuple[str, int, int]] = {}
    for sign, fee, days, period, whole in re.findall(part, check):
        said[sign or "+"] = (fee or whole, int(days or 1) if fee else period_days, int(period or period_days))
    if said["+"][2] == YEAR:
        return year_of(said["+"][0], said["+"][1])
    (old, days, _), (new, *_) = said["-"], said["+"]
    return swap(old, new, days, period_days)


@pytest.mark.parametrize("case", cases_of({"flat"}), ids=lambda case: case["id"])
def test_a_fee_in_advance_is_due_when_its_month_begins(case: Case) -> None:
    assert case["charge"]["term"] == "in_advance"
    month = MONTHS[31]
    world = fees(case["charge"]["price"], active_from=month.first_day)
    world.subscriptions[0]["licences"] = int(case["quantities"][0])
    assert total(posted(world, month.previous(), POSTINGS.empty(), month)) == Decimal(case["expected"]["amount"])
