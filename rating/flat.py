"""Flat: a recurring fee per interval and licence, whatever is used.

As a function of licences it is per unit; `recurring.py` prorates it by day.
Source: Stripe `licensed` prices, Kill Bill recurring, TM Forum `recurring` price type.
"""

from __future__ import annotations

from rating.steps import PriceTerms, Step


def lower_flat(terms: PriceTerms) -> list[Step]:
    """One step from 0 without end: the fee of one licence."""
    first = terms.tiers[0]
    return [Step(first.tier, 0, first.flat, first.unit_price)]
