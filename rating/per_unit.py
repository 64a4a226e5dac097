"""Per unit: every unit costs the same.

f(q) = flat + unit_price x q. The flat fee, usually 0, is due with the first unit. A percentage of an amount and a factor on it
are the same function: there the meter's unit is money, and the unit price is the rate or the factor. Where the plan rounds the
units, a unit is a package of the meter's (catalog/units.py).
Source: the plainest tariff there is; Stripe and OpenMeter call it `unit`, Lago `standard`; OpenMeter's `dynamic` is our
`multiplier`.
"""

from __future__ import annotations

from rating.steps import PriceTerms, Step


def lower_per_unit(terms: PriceTerms) -> list[Step]:
    """One step from 0 without end."""
    first = terms.tiers[0]
    return [Step(first.tier, 0, first.flat, first.unit_price, first.package_quanta)]
