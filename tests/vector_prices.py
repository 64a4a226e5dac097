"""How cases whose price is a function of a period's total are written as a price book. No tests in here."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.rating_world import Row, World, one_price, tiers
from tests.test_catalog_units import said
from tests.test_rating_capacity import capacity
from tests.vector_cases import Case, decimals


def write_per_unit(charge: Case, **more: Any) -> World:
    conversion = charge.get("unit_conversion")
    if conversion is None:
        return one_price("per_unit", tiers((None, charge["unit_price"])), **more)
    return converted(charge["unit_price"], conversion["divide_by"], conversion.get("round", "none"), **more)


def write_units(charge: Case, **more: Any) -> World:
    """The case asserts a quantity: it is what costs 1 a unit. Lago rounds to so many decimals, OpenMeter what was divided."""
    per = charge["factor"] if charge.get("op") == "divide" else str(Decimal(1).scaleb(-int(charge.get("precision", 0))))
    rounding = charge.get("round") or charge.get("rounding_function") or "none"
    return converted("1", per, {"floor": "down", "ceil": "up", "round": "half_up"}.get(rounding, rounding), **more)


def converted(unit_price: str, per: str, rounding: str, *, scale: int) -> World:
    """A price that says in which units it is, by the catalog's own rules."""
    units = {"per": per} | ({} if rounding == "none" else {"round": rounding})
    return said({"model": "per_unit", "unit_price": unit_price, "units": units}, scale)


def write_package(charge: Case, **more: Any) -> World:
    """Rounding down forgives all but one quantum of the last package, so it is more included units."""
    free, size = Decimal(charge.get("free_units", "0")), Decimal(charge["package_size"])
    if charge.get("partial_package", "up") == "down":
        free += size - Decimal(1).scaleb(-more["scale"])
    return one_price("package", tiers((None, charge["price"]), package_size=str(size)), included_units=free, **more)


def write_range(_charge: Case, *, name: str, scale: int, **more: Any) -> World:
    """One tier of many, alone: what its units cost. The case says it in its name: `7-10 at 2.9% flat 2`, `0.1-1 @5`."""
    found = re.search(r"range (\d+|\d+\.\d+)-([\d.]+) (?:@|at )([\d.]+)(%?)(?: flat ([\d.]+))?", name)
    assert found is not None, name
    low, high, price, is_rate, flat = found.groups()
    start = Decimal(low) - (0 if "." in low or low == "0" else 1)  # bands of whole units: 7 is the first that is inside
    rows = tiers((str(start), "0"), (high, percent(price) if is_rate else price, flat or "0"), (None, "0"))
    return one_price(
        "graduated_percentage" if is_rate else "graduated", rows, scale=max(scale, *map(decimals, (low, high))), **more
    )


def write_tiers(charge: Case, *, default_zero: str, **more: Any) -> World:
    rows = tiers(*((tier["up_to"], tier.get("unit_price", "0"), tier.get("flat", "0")) for tier in charge["tiers"]))
    at_zero = charge.get("zero_usage", default_zero) == "first_tier_flat"
    return one_price(charge["model"], rows, flat_at_zero=at_zero, **more)


def write_rates(charge: Case, **more: Any) -> World:
    rows = ((tier["up_to"], percent(tier["rate_pct"]), tier.get("flat", "0")) for tier in charge["tiers"])
    return one_price("graduated_percentage", tiers(*rows), **more)


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


def write_capacity(charge: Case, *, scale: int, **more: Any) -> World:
    """A meter for each unit; the last tier goes on without limits."""
    units = list(charge["tiers"][0]["limits"])
    limits = [{unit: Decimal(tier["limits"][unit]) for unit in units} for tier in charge["tiers"][:-1]]
    return capacity(limits, [Decimal(tier["price"]) for tier in charge["tiers"]], units, scale=scale)


def percent(text: str) -> str:
    return str(Decimal(text) / 100)


PERIOD_WRITERS: dict[str, tuple[Callable[..., World], set[str]]] = {
    "per_unit": (write_per_unit, {"unit_price", "unit_conversion"}),
    "units_only": (write_units, {"op", "factor", "round", "rounding_function", "precision"}),
    "package": (write_package, {"price", "package_size", "free_units", "partial_package"}),
    "single_range": (write_range, set()),
    "graduated": (write_tiers, {"tiers", "zero_usage", "commitment"}),
    "volume": (write_tiers, {"tiers", "zero_usage", "commitment"}),
    "graduated_percentage": (write_rates, {"tiers"}),
    "multiplier": (write_multiplier, {"multiplier", "commitment"}),
    "block_tiers": (write_blocks, {"policy", "tiers"}),
    "capacity_tier": (write_capacity, {"tiers"}),
    "block_tiers_multi": (write_blocks_of_units, {"policy", "units"}),
}
"""Model -> how it is written as a price, and the parameters that this understands; any other fails the case."""
