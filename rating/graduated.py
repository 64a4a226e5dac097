"""Graduated: each tier prices only the units that fall into it, like income tax brackets.

A tier's flat fee is due once, when its first unit is used. Upper bounds are inclusive: "up to 1000" holds unit 1000. A tier
with a package size sells whole packages: one begun in the tier is due whole. Rates on an amount (graduated percentage) are the
same function of a meter whose unit is money.
Source: Stripe `tiers_mode=graduated`, Lago and OpenMeter graduated, Lago graduated percentage, Kill Bill `ALL_TIERS`;
bounds and flats as DESIGN decided (section 5).
"""

from __future__ import annotations

from rating.steps import PriceTerms, Step, packages_begun


def lower_graduated(terms: PriceTerms) -> list[Step]:
    """One step per tier; its base is the price of all tiers below it, full, plus the flat fees up to and with its own."""
    steps: list[Step] = []
    base = 0
    for tier, following in zip(terms.tiers, [*terms.tiers[1:], None], strict=True):
        base += tier.flat
        steps.append(Step(tier.tier, tier.from_quanta, base, tier.unit_price, tier.package_quanta))
        if following is not None:
            base += tier.unit_price * packages_begun(following.from_quanta - tier.from_quanta, tier.package_quanta)
    return steps
