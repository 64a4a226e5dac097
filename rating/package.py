"""Package: units are sold in whole packages; a package begun is due whole.

f(q) = price x ceil(q / package). A tariff that forgives the partial package (round down) is the same function with
more included units: floor(x / n) = ceil((x - (n - 1 quantum)) / n); `units` of a plan says it (catalog/units.py).
Source: Stripe `transform_quantity`, Lago `package`, OpenMeter `package`; rounding up as DESIGN decided (section 5).
"""

from __future__ import annotations

from rating.steps import PriceTerms, Step


def lower_package(terms: PriceTerms) -> list[Step]:
    """One step from 0 without end that counts packages."""
    first = terms.tiers[0]
    return [Step(first.tier, 0, first.flat, first.unit_price, first.package_quanta)]
