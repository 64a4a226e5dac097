"""A price in other units than the meter counts: the period's total is divided, rounded if the plan says so, and then priced.

Whole converted units are packages of the meter's units, so what is written becomes tiers of packages, and rating needs no rule
of its own. Rounding down or half-up forgives the part of a package that does not count, which is so much more included.
Source: OpenMeter unit conversion, Lago `rounding_function` and `rounding_precision`.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

from catalog.entries import UnitsEntry
from catalog.fields import MAX_UNITS, decimals_of
from catalog.models import Metered
from catalog.problems import Place, Problems

Row = dict[str, object]


def convert_units(
    columns: Row, tiers: list[Row], units: UnitsEntry, metered: Metered, place: Place, problems: Problems
) -> tuple[Row, list[Row]]:
    """Columns of PRICES and TIERS in units of the meter, from those in converted units; what cannot be said is noted.

    `place` is that of the terms.
    """
    if units.per == 0:
        problems.add(place.at("units", "per"), "is 0; write how many of the meter's units make one")
        return columns, tiers
    count = len(problems.found)
    included = Decimal(str(columns["included_units"]))
    _check_quantity(included, units, metered, place.at("included"), problems)
    for index, tier in enumerate(tiers):
        for name, value in (("up_to", tier["tier_to"]), ("package_size", tier["package_size"])):
            if value is not None:
                spot = place.at("tiers", index, name) if len(tiers) > 1 else place.at(name)
                _check_quantity(Decimal(str(value)), units, metered, spot, problems)
    if len(problems.found) > count:
        return columns, tiers
    made = columns | {"included_units": included * units.per + _forgiven(units, metered.scale)}
    return made, [_convert_tier(tier, units, metered, place, problems) for tier in tiers]


def _check_quantity(value: Decimal, units: UnitsEntry, metered: Metered, place: Place, problems: Problems) -> None:
    """A bound in converted units is a bound in units of the meter; where they are rounded it is a whole number."""
    if units.round is not None and value != value.to_integral_value():
        problems.add(place, f"{value} is no whole number, but the units are rounded")
    elif decimals_of(value * units.per) > metered.scale:
        problems.add(place, f"{value} x {units.per} has more decimals than the {metered.scale} of the meter")
    elif value * units.per * 10**metered.scale > MAX_UNITS:
        problems.add(place, f"is too large; this meter counts up to {MAX_UNITS.scaleb(-metered.scale):f} units")


def _forgiven(units: UnitsEntry, scale: int) -> Decimal:
    """Units of the meter that do not yet make the next one."""
    size = int(units.per.scaleb(scale))
    quanta = {"down": size - 1, "half_up": (size + 1) // 2 - 1}.get(units.round or "", 0)
    return Decimal(quanta).scaleb(-scale)


def _convert_tier(tier: Row, units: UnitsEntry, metered: Metered, place: Place, problems: Problems) -> Row:
    made = dict(tier)
    for name in ("tier_from", "tier_to", "package_size"):
        if tier[name] is not None:
            made[name] = Decimal(str(tier[name])) * units.per
    if tier["package_size"] is not None:
        return made
    price = Decimal(str(tier["unit_price"]))
    if units.round is not None:
        return made | {"package_size": units.per}
    with localcontext() as context:
        context.prec = 60
        each = price / units.per
        exact = each * units.per == price
    if not exact or decimals_of(each) > 18 - metered.scale:
        text = f"{price} / {units.per} is no price of at most {18 - metered.scale} decimals; say how the units are rounded"
        problems.add(place.at("units"), f"{text}, or choose a 'per' that divides")
    return made | {"unit_price": each}
