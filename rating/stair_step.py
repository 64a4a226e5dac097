"""Stair step: the period costs the flat fee of the tier that the total reaches, and nothing else.

Reaching the next tier replaces the fee of the one before; the row that reaches it carries the difference.
A capacity price is the same function of a tier's number (rating/capacity.py).
Source: Chargebee and Maxio `stairstep`; Kill Bill capacity with one unit.
"""

from __future__ import annotations

from rating.steps import PriceTerms, Step


def lower_stair_step(terms: PriceTerms) -> list[Step]:
    """One level step per tier."""
    return [Step(tier.tier, tier.from_quanta, tier.flat, 0) for tier in terms.tiers]
