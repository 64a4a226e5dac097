"""Volume: all units are priced at the tier the total falls in, plus that tier's flat fee alone.

Crossing into a cheaper tier prices the earlier units again, so a row may be negative; the sum is always f of the total. A tier
with a package size counts all units in its packages, one begun is due whole.
Source: Stripe `tiers_mode=volume`, Lago and OpenMeter volume, Kill Bill consumable `TOP_TIER`.
"""

from __future__ import annotations

from rating.steps import PriceTerms, Step, Tier, packages_begun


def lower_volume(terms: PriceTerms) -> list[Step]:
    """One step per tier, or two where a tier starts inside one of its packages."""
    ends = [tier.from_quanta for tier in terms.tiers[1:]]
    return [step for tier, end in zip(terms.tiers, [*ends, None], strict=True) for step in _lower_tier(tier, end)]


def _lower_tier(tier: Tier, end: int | None) -> list[Step]:
    """The base of a step re-prices what lies below it; packages are counted from 0, so from a whole number of them."""
    begun = packages_begun(tier.from_quanta, tier.package_quanta)
    base, whole = tier.flat + tier.unit_price * begun, begun * tier.package_quanta
    steps = [Step(tier.tier, tier.from_quanta, base, 0)] if whole > tier.from_quanta else []
    if end is None or whole < end:
        steps.append(Step(tier.tier, whole, base, tier.unit_price, tier.package_quanta))
    return steps
