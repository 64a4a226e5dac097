"""Volume: all units are priced at the tier the total falls in, plus that tier's flat fee alone.

Crossing into a cheaper tier prices the earlier units again, so a row may be negative; the sum is always f of the total.
Source: Stripe `tiers_mode=volume`, Lago and OpenMeter volume.
"""

from __future__ import annotations

from rating.steps import PriceTerms, Step


def lower_volume(terms: PriceTerms) -> list[Step]:
    """One step per tier; its base re-prices the units below it: flat + unit_price x from."""
    return [
        Step(tier.tier, tier.from_quanta, tier.flat + tier.unit_price * tier.from_quanta, tier.unit_price)
        for tier in terms.tiers
    ]
