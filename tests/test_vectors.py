"""The cases of tests/vectors that are a matter of rating, from event to posting."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.limits_world import Till
from tests.rating_world import Desk, Row, World, event, instant
from tests.test_vectors_fees import FEE_MODELS
from tests.test_vectors_limits import LIMIT_MODELS
from tests.test_vectors_money import MONEY_MODELS
from tests.vector_cases import CASES, Case, cases_of, quantities, quantity_scale, rounded
from tests.vector_event_prices import EVENT_WRITERS, write_bucket
from tests.vector_levels import LEVEL_WRITERS, write_average, write_changes, write_levels
from tests.vector_prices import PERIOD_WRITERS, write_range, write_tiers

WRITERS = PERIOD_WRITERS | EVENT_WRITERS | LEVEL_WRITERS

FLAT_AT_ZERO = ("getlago/", "openmeterio/")
"""Peers whose first tier's flat fee is due at zero usage where the case says nothing (SCHEMA of the vectors)."""

AGGREGATIONS = {
    "max": "max",
    "latest": "latest",
    "cumulative snapshot per run": "latest",
    "max per time bucket, each bucket priced alone": "max",
}
"""What a case calls it -> the aggregation of its meter. Everything else is a sum."""


WINDOWS = {"daily_free", "per_bucket"}
"""Parameters that price each day by itself; the case's quantities are then those of one day after the other."""


def write_world(case: Case) -> World:
    """The case's charge as a price book."""
    charge, aggregation = case["charge"], case["aggregation"]
    windows = WINDOWS & set(charge)
    charge = {name: value for name, value in charge.items() if name not in WINDOWS}
    write, understood = WRITERS[charge["model"]]
    if aggregation == "weighted_sum":
        return write_average(charge)
    if "tier_chosen_by" in charge:
        write, understood = write_levels, understood | {"tier_chosen_by"}
    assert set(charge) <= understood | {"model"}, f"{case['id']}: unknown parameters {set(charge) - understood}"
    more: dict[str, Any] = {"scale": 0 if write is write_levels else quantity_scale(case)}
    if write in (write_tiers, write_levels):
        more["default_zero"] = "first_tier_flat" if case["source"].startswith(FLAT_AT_ZERO) else "none"
    if "commitment" in charge:
        ((bound, amount),) = charge["commitment"].items()
        more |= {"cap": Decimal(amount)} if bound == "max" else {"floor": Decimal(amount), "floor_prorated": True}
    if write in (write_range, write_bucket):
        more["name"] = case["name"]
    if windows:
        more |= {"within": "day", "included_units": Decimal(case["charge"].get("daily_free", "0"))}
    if aggregation in AGGREGATIONS:
        more["aggregation"] = AGGREGATIONS[aggregation]
    if aggregation == "count" and "events" in case:
        more["aggregation"] = "count"
    return write(charge, **more)


def write_events(case: Case) -> list[Row]:
    """The case's events, a minute or a day apart, so that of several readings the last is the latest."""
    model, start = case["charge"]["model"], instant("2026-10-15")
    if model == "prorated_graduated" or case["aggregation"] == "weighted_sum" or "tier_chosen_by" in case["charge"]:
        return write_changes(case)
    if model == "per_unit_by_dimension":
        return [event(f"e{number}", data) for number, data in enumerate(case["events"])]
    if model == "window_commitment_by_clock":
        at = [instant(f"2026-10-15T{one['at']}") for one in case["events"]]
        return [event(f"e{n}", one["units"], occurred_at=at[n]) for n, one in enumerate(case["events"])]
    if model == "dynamic":
        used = case.get("events", [NO_UNITS])
        brought = [{"value": one["units"], "money": str(Decimal(one["amount_minor"]) / 100)} for one in used]
        return [event(f"e{number}", data) for number, data in enumerate(brought)]
    return [
        event(
            f"{unit}{number}",
            quantity,
            event_type="used" if unit == "value" else unit,
            occurred_at=start + number * (timedelta(days=1) if WINDOWS & set(case["charge"]) else timedelta(minutes=1)),
        )
        for unit, values in quantities(case).items()
        for number, quantity in enumerate(values)
    ]


NO_UNITS = {"units": "0", "amount_minor": "40.2"}
"""The event of the dynamic case that says its numbers in its notes."""


@pytest.mark.parametrize("case", cases_of(set(WRITERS)), ids=lambda case: case["id"])
def test_a_case_of_a_peer_costs_what_the_plain_rule_says(case: Case) -> None:
    till = Till(write_world(case))
    desk = till.desk
    expected = case["expected"]
    billed = expected.get("billed_before", {})
    if "units" in billed:
        desk.rate(event("before", billed["units"]))
        if "amount" in billed:
            assert desk.total() == Decimal(billed["amount"])
    before = desk.total() if desk.results else Decimal(0)
    for one in write_events(case):
        desk.rate(one)
    assert desk.reasons == []
    amounts = desk.postings["amount"].to_list()
    if "min" in case["charge"].get("commitment", {}) and expected.get("period_position") != "mid":
        till.close()  # the run that closes the usage period raises it to its minimum
        amounts[-1] += till.total() - desk.total()
    amount = sum(amounts, Decimal(0)) - before
    if billed and "units" not in billed:
        amount = rounded(amount, "half_up to 2 decimals") - Decimal(billed["amount"])
    assert rounded(amount, case["rounding"]) == Decimal(expected.get("exact_amount", expected["amount"]))
    if "per_event" in (expected.get("breakdown") or [{}])[-1]:
        assert desk.postings["amount"].to_list() == [Decimal(part) for part in expected["breakdown"][-1]["per_event"]]
    if "deltas" in expected:
        assert amounts == [Decimal(delta) for delta in expected["deltas"]]
    check_breakdown(case, desk, amount)


def check_breakdown(case: Case, desk: Desk, amount: Decimal) -> None:
    """The tier or slot that the last event ended in, and the packages that were sold."""
    breakdown = case["expected"].get("breakdown", [])
    if breakdown and "tier" in breakdown[-1]:
        assert desk.postings["tier"][-1] == breakdown[-1]["tier"] - 1
    if breakdown and "slot" in breakdown[-1]:
        assert desk.postings["tier"][-1] == breakdown[-1]["slot"] - 1
    if breakdown and "packages" in breakdown[-1]:
        assert amount == Decimal(breakdown[-1]["packages"]) * Decimal(case["charge"]["price"])


def test_every_case_is_run_by_one_file_and_every_peer_is_there() -> None:
    run = [set(WRITERS), FEE_MODELS, MONEY_MODELS, LIMIT_MODELS]
    assert sum(len(cases_of(models)) for models in run) == len(CASES)
    assert {case["charge"]["model"] for case in CASES} == set.union(*run)
    assert len({case["source"].split("/")[0] for case in CASES}) >= 6
    assert len({case["id"] for case in CASES}) == len(CASES)
