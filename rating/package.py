"""Package: units are sold in whole packages after the free ones; a package begun is due whole.

f(q) = price x ceil((q - free) / package). A tariff that forgives the partial package (round down) is the same function with
more free units: floor(x / n) = ceil((x - (n - 1 quantum)) / n), so it is written as free_units = free + package - 1 quantum.
Source: Stripe `transform_quantity`, Lago `package`, OpenMeter `package`; rounding up as DESIGN decided (section 5).
"""

from __future__ import annotations

from rating.steps import PriceTerms, Step
from schemas.errors import BrokenPromise


def lower_package(terms: PriceTerms) -> list[Step]:
    """A step of free units, if there are any, then one that counts packages."""
    first, free = terms.tiers[0], terms.free_quanta
    if not terms.package_quanta or terms.package_quanta < 0:
        raise BrokenPromise("a package price needs a package size above zero")
    packages = Step(first.tier, free, first.flat, first.unit_price, terms.package_quanta)
    return [Step(first.tier, 0, first.flat, 0), packages] if free else [packages]
