"""The cases of tests/vectors, transcribed from what other billing systems assert, rated from event to posting."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rating_world import Desk, Row, World, event, one_price, tiers

FOLDER = Path(__file__).parent / "vectors"
CASES = [case for path in sorted(FOLDER.glob("*.json")) for case in json.loads(path.read_text())]

Case = dict[str, Any]

UNDERSTOOD = {
    "model",
    "unit_price",
    "unit_conversion",
    "tiers",
    "zero_usage",
    "price",
    "package_size",
    "free_units",
    "partial_package",
}
"""Parameters of a charge that this test knows how to write as a price; any other fails the case instead of passing it by."""

FLAT_AT_ZERO = ("getlago/", "openmeterio/")
"""Peers whose first tier's flat fee is due at zero usage where the case says nothing (SCHEMA of the vectors)."""


def decimals(text: str) -> int:
    return max(0, -int(Decimal(text).normalize().as_tuple().exponent))


def quantity_scale(case: Case) -> int:
    """The scale a meter needs for every quantity and bound of the case."""
    charge = case["charge"]
    written = [*quantities(case), case["expected"].get("billed_before", {}).get("units", "0")]
    written += [charge[name] for name in ("package_size", "free_units") if name in charge]
    written += [tier["up_to"] for tier in charge.get("tiers", []) if tier["up_to"] is not None]
    return max(map(decimals, written), default=0)


def quantities(case: Case) -> list[str]:
    return list(case.get("events") or case.get("quantities") or [])


def packages(size: Decimal, price: str, free: Decimal, rounds: str, scale: int) -> World:
    """Whole packages; rounding down forgives all but one quantum of the last, so it is more free units."""
    forgiven = size - Decimal(1).scaleb(-scale) if rounds == "down" else Decimal(0)
    return one_price("package", tiers((None, price)), scale=scale, package_size=size, free_units=free + forgiven)


def write_price(case: Case) -> World:
    """The case's charge as a price book."""
    charge, scale = case["charge"], quantity_scale(case)
    assert set(charge) <= UNDERSTOOD, f"{case['id']}: unknown parameters {set(charge) - UNDERSTOOD}"
    if charge["model"] == "package":
        free, rounds = Decimal(charge.get("free_units", "0")), charge.get("partial_package", "up")
        return packages(Decimal(charge["package_size"]), charge["price"], free, rounds, scale)
    if charge["model"] == "per_unit":
        conversion = charge.get("unit_conversion", {"divide_by": "1"})
        size = Decimal(conversion["divide_by"])
        if conversion.get("round") in {"up", "down"}:
            return packages(size, charge["unit_price"], Decimal(0), conversion["round"], scale)
        return one_price("per_unit", tiers((None, str(Decimal(charge["unit_price"]) / size))), scale=scale)
    default = "first_tier_flat" if case["source"].startswith(FLAT_AT_ZERO) else "none"
    rows = tiers(*((tier["up_to"], tier.get("unit_price", "0"), tier.get("flat", "0")) for tier in charge["tiers"]))
    at_zero = charge.get("zero_usage", default) == "first_tier_flat"
    return one_price(charge["model"], rows, scale=scale, flat_at_zero=at_zero)


def write_world(case: Case) -> World:
    world = write_price(case)
    aggregation = case["aggregation"]
    if aggregation == "max" or (aggregation == "count" and "events" in case):
        world.meters[0]["aggregation"] = aggregation
    return world


def rounded(amount: Decimal, rounding: str) -> Decimal:
    """`none`, or `half_up to 2 decimals`."""
    if rounding == "none":
        return amount
    method, _, places, _ = rounding.split()
    assert method == "half_up"
    return amount.quantize(Decimal(1).scaleb(-int(places)), rounding=ROUND_HALF_UP)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_case_of_a_peer_costs_what_the_plain_rule_says(case: Case) -> None:
    desk = Desk(write_world(case).terms())
    expected = case["expected"]
    if "billed_before" in expected:
        desk.rate(event("before", expected["billed_before"]["units"]))
        if "amount" in expected["billed_before"]:
            assert desk.total() == Decimal(expected["billed_before"]["amount"])
    before = desk.total() if desk.results else Decimal(0)
    events: list[Row] = [event(f"e{number}", quantity) for number, quantity in enumerate(quantities(case))]
    desk.rate(*events)
    assert desk.reasons == []
    amount = desk.total() - before
    assert rounded(amount, case["rounding"]) == Decimal(expected.get("exact_amount", expected["amount"]))
    breakdown = expected.get("breakdown", [])
    if breakdown and "tier" in breakdown[-1]:
        assert desk.postings["tier"][-1] == breakdown[-1]["tier"] - 1
    if breakdown and "packages" in breakdown[-1]:
        assert amount == Decimal(breakdown[-1]["packages"]) * Decimal(case["charge"]["price"])


def test_every_model_and_every_peer_is_represented() -> None:
    assert {case["charge"]["model"] for case in CASES} == {"per_unit", "graduated", "volume", "package"}
    assert len({case["source"].split("/")[0] for case in CASES}) >= 4
    assert len({case["id"] for case in CASES}) == len(CASES)
