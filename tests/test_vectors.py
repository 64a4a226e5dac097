"""The cases of tests/vectors, transcribed from what other billing systems assert, rated from event to posting."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rating_world import Desk, Row, World, event, one_price, tiers

FOLDER = Path(__file__).parent / "vectors"
CASES = [case for path in sorted(FOLDER.glob("*.json")) for case in json.loads(path.read_text())]

Case = dict[str, Any]

FLAT_AT_ZERO = ("getlago/", "openmeterio/")
"""Peers whose first tier's flat fee is due at zero usage where the case says nothing (SCHEMA of the vectors)."""

QUANTITIES = ("package_size", "free_units", "block_size", "up_to", "free_amount", "from", "per", "increment")
"""Parameters that are quantities: the meter's scale must hold their decimals."""


def decimals(text: str) -> int:
    return max(0, -int(Decimal(text).normalize().as_tuple().exponent))


def quantity_scale(case: Case) -> int:
    """The scale a meter needs for every quantity and bound of the case."""
    written = [value for values in quantities(case).values() for value in values]
    written += [case["expected"].get("billed_before", {}).get("units", "0")]
    parts = [case["charge"], *case["charge"].get("tiers", [])]
    parts += case["charge"].get("slots", [])
    written += [part[name] for part in parts for name in QUANTITIES if part.get(name) is not None]
    return max(map(decimals, written), default=0)


def quantities(case: Case) -> dict[str, list[str]]:
    """The quantity of each event, by unit; a case without units has one called `value`."""
    given = case.get("events") or case.get("quantities") or [str(w["seconds"]) for w in case["charge"].get("windows", [])]
    found: dict[str, list[str]] = {"value": []}
    reached = Decimal(0)
    for item in given:
        if isinstance(item, str):
            found["value"].append(item)
        elif "cumulative_quantity" in item:
            found["value"].append(str(Decimal(item["cumulative_quantity"]) - reached))
            reached = Decimal(item["cumulative_quantity"])
        elif "amount_minor" in item:
            found["value"].append(item["amount_minor"])
        elif "unit" not in item:
            found["value"].append(item["value"])
        else:
            found.setdefault(item["unit"], []).append(item["value"])
    return found


def write_per_unit(charge: Case, **more: Any) -> World:
    conversion = charge.get("unit_conversion", {"divide_by": "1"})
    size = Decimal(conversion["divide_by"])
    if conversion.get("round") in {"up", "down"}:
        return packages(size, charge["unit_price"], Decimal(0), conversion["round"], **more)
    return one_price("per_unit", tiers((None, str(Decimal(charge["unit_price"]) / size))), **more)


def write_package(charge: Case, **more: Any) -> World:
    free, rounds = Decimal(charge.get("free_units", "0")), charge.get("partial_package", "up")
    return packages(Decimal(charge["package_size"]), charge["price"], free, rounds, **more)


def packages(size: Decimal, price: str, free: Decimal, rounds: str, *, scale: int, **more: Any) -> World:
    """Whole packages; rounding down forgives all but one quantum of the last, so it is more included units."""
    forgiven = size - Decimal(1).scaleb(-scale) if rounds == "down" else Decimal(0)
    rows = tiers((None, price), package_size=str(size))
    return one_price("package", rows, scale=scale, included_units=free + forgiven, **more)


def write_tiers(charge: Case, *, default_zero: str, **more: Any) -> World:
    rows = tiers(*((tier["up_to"], tier.get("unit_price", "0"), tier.get("flat", "0")) for tier in charge["tiers"]))
    at_zero = charge.get("zero_usage", default_zero) == "first_tier_flat"
    return one_price(charge["model"], rows, flat_at_zero=at_zero, **more)


def write_rates(charge: Case, **more: Any) -> World:
    rows = ((tier["up_to"], percent(tier["rate_pct"]), tier.get("flat", "0")) for tier in charge["tiers"])
    return one_price("graduated_percentage", tiers(*rows), **more)


def write_percentage(charge: Case, **more: Any) -> World:
    """Per event where the case has terms of an event; the allowance ends at the first of events and amount."""
    of_event = {"fixed_per_event", "free_events", "min_per_event", "max_per_event"} & set(charge)
    rows = tiers((None, percent(charge["rate_pct"]), charge.get("fixed_per_event", "0")))
    bounds: dict[str, Any] = {name: Decimal(charge[key]) for name, key in EVENT_BOUNDS.items() if key in charge}
    return one_price(
        "percentage",
        rows,
        per="event" if of_event else "period",
        free_events=charge.get("free_events"),
        included_units=Decimal(charge.get("free_amount", "0")),
        **bounds,
        **more,
    )


EVENT_BOUNDS = {"minimum": "min_per_event", "maximum": "max_per_event"}


def write_dynamic(charge: Case, **more: Any) -> World:
    """The amount that comes with the event is its quantity; the case gives cents."""
    return one_price("multiplier", tiers((None, "0.01")), **more)


def write_matrix(charge: Case, **more: Any) -> World:
    rows = tiers((None, charge["default_unit_price"]))
    for number, (value, price) in enumerate(charge["prices"].items(), start=1):
        rows.append(rows[0] | {"tier": number, "unit_price": Decimal(price), "values": [value]})
    world = one_price("matrix", rows, per="event", by=[charge["dimension"]], match="value", **more)
    world.meters[0]["dimensions"] = [charge["dimension"]]
    return world


def write_call(charge: Case, **more: Any) -> World:
    """Slots become tiers; a maximum that only disconnects is no matter of the price."""
    slots = charge["slots"]
    ends = [slot["from"] for slot in slots[1:]]
    rows = tiers(*((end, slot["rate"]) for end, slot in zip([*ends, None], slots, strict=True)))
    rows[0]["flat"] = Decimal(charge.get("connect_fee", "0"))
    for row, slot in zip(rows, slots, strict=True):
        row |= {"package_size": Decimal(slot["increment"]), "per_units": Decimal(slot["per"])}
    if charge.get("max_cost_strategy") == "free":
        more["maximum"] = Decimal(charge["max_cost"])
    if "rounding" in charge:
        more |= {"round_places": charge["rounding"]["decimals"], "round_method": charge["rounding"]["method"]}
    return one_price("rated_time", rows, per="event", **more)


def write_window(charge: Case, **more: Any) -> World:
    """One window is in force throughout."""
    (window,) = charge["windows"]
    slot = {"from": "0", "rate": window["rate_per_second"], "per": "1", "increment": "1"}
    return write_call({"connect_fee": charge["connect_fee"], "slots": [slot]}, **more)


def write_multiplier(charge: Case, **more: Any) -> World:
    return one_price("multiplier", tiers((None, charge["multiplier"])), **more)


def write_blocks(charge: Case, **more: Any) -> World:
    return one_price(*blocks(charge["policy"], charge["tiers"]), **more)


def write_blocks_of_units(charge: Case, *, scale: int) -> World:
    """A price and a meter for each unit."""
    world = World().account().subscription()
    for unit, listed in charge["units"].items():
        model, rows = blocks(charge["policy"], listed)
        world.meter(unit, event_type=unit, quantity_scale=scale)
        world.price(unit, rows, own=False, meter_id=unit, model=model)
    return world


def blocks(policy: str, listed: list[Case]) -> tuple[str, list[Row]]:
    """`max_blocks` is a tier's own capacity; our tiers say up to where they go, and the last has no end."""
    rows, reached = [], Decimal(0)
    for tier in listed[:-1]:
        reached += Decimal(tier["block_size"]) * tier["max_blocks"]
        rows.append((str(reached), tier["price"]))
    made = tiers(*rows, (None, listed[-1]["price"]))
    model = {"all_tiers": "graduated", "top_tier": "volume"}[policy]
    return model, [row | {"package_size": Decimal(tier["block_size"])} for row, tier in zip(made, listed, strict=True)]


def percent(text: str) -> str:
    return str(Decimal(text) / 100)


WRITERS: dict[str, tuple[Callable[..., World], set[str]]] = {
    "per_unit": (write_per_unit, {"unit_price", "unit_conversion"}),
    "package": (write_package, {"price", "package_size", "free_units", "partial_package"}),
    "graduated": (write_tiers, {"tiers", "zero_usage", "commitment"}),
    "volume": (write_tiers, {"tiers", "zero_usage", "commitment"}),
    "graduated_percentage": (write_rates, {"tiers"}),
    "percentage": (write_percentage, {"rate_pct", "fixed_per_event", "free_events", "free_amount", *EVENT_BOUNDS.values()}),
    "per_unit_by_dimension": (write_matrix, {"dimension", "prices", "default_unit_price"}),
    "dynamic": (write_dynamic, set()),
    "rated_time": (write_call, {"connect_fee", "slots", "rounding", "max_cost", "max_cost_strategy"}),
    "rated_time_by_clock": (write_window, {"windows", "connect_fee"}),
    "multiplier": (write_multiplier, {"multiplier"}),
    "block_tiers": (write_blocks, {"policy", "tiers"}),
    "block_tiers_multi": (write_blocks_of_units, {"policy", "units"}),
}
"""Model -> how it is written as a price, and the parameters that this understands; any other fails the case."""


def write_world(case: Case) -> World:
    """The case's charge as a price book."""
    charge, aggregation = case["charge"], case["aggregation"]
    write, understood = WRITERS[charge["model"]]
    assert set(charge) <= understood | {"model"}, f"{case['id']}: unknown parameters {set(charge) - understood}"
    more: dict[str, Any] = {"scale": quantity_scale(case)}
    if write is write_tiers:
        more["default_zero"] = "first_tier_flat" if case["source"].startswith(FLAT_AT_ZERO) else "none"
    if "commitment" in charge:
        assert set(charge["commitment"]) == {"max"}
        more["cap"] = Decimal(charge["commitment"]["max"])
    if aggregation == "max" or (aggregation == "count" and "events" in case):
        more["aggregation"] = aggregation
    return write(charge, **more)


def write_events(case: Case) -> list[Row]:
    if case["charge"]["model"] == "per_unit_by_dimension":
        return [event(f"e{number}", data) for number, data in enumerate(case["events"])]
    return [
        event(f"{unit}{number}", quantity, event_type="used" if unit == "value" else unit)
        for unit, values in quantities(case).items()
        for number, quantity in enumerate(values)
    ]


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
    billed = expected.get("billed_before", {})
    if "units" in billed:
        desk.rate(event("before", billed["units"]))
        if "amount" in billed:
            assert desk.total() == Decimal(billed["amount"])
    before = desk.total() if desk.results else Decimal(0)
    for one in write_events(case):
        desk.rate(one)
    assert desk.reasons == []
    amount = desk.total() - before
    if billed and "units" not in billed:
        amount = rounded(amount, "half_up to 2 decimals") - Decimal(billed["amount"])
    assert rounded(amount, case["rounding"]) == Decimal(expected.get("exact_amount", expected["amount"]))
    if "per_event" in (expected.get("breakdown") or [{}])[-1]:
        assert desk.postings["amount"].to_list() == [Decimal(part) for part in expected["breakdown"][-1]["per_event"]]
    if "deltas" in expected:
        assert desk.postings["amount"].to_list() == [Decimal(delta) for delta in expected["deltas"]]
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


def test_every_model_and_every_peer_is_represented() -> None:
    assert {case["charge"]["model"] for case in CASES} == set(WRITERS)
    assert len({case["source"].split("/")[0] for case in CASES}) >= 6
    assert len({case["id"] for case in CASES}) == len(CASES)
