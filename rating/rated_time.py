"""Rated time: a call is charged in increments, each begun one due whole, at the rate of the slot in which it begins.

f(q) = connect fee + over the slots reached: rate x increment / per x increments begun. 60/6 is a slot up to 60 seconds with an
increment of 60, then one with an increment of 6. A slot is a whole number of its increments long, so that the next increment
begins where the next slot does. Rates are kept as fractions (`divisor` of PriceTerms), so a minute's price by the second is
exact until it is rounded once, as the plan says.
Source: CGRateS rates; increments as in every telephone tariff since the pulse.
"""

from __future__ import annotations

from rating.graduated import lower_graduated
from rating.steps import PriceTerms, Step
from schemas.errors import BrokenPromise


def lower_rated_time(terms: PriceTerms) -> list[Step]:
    """One step per slot; the connect fee is the flat fee of the first."""
    for slot, following in zip(terms.tiers, terms.tiers[1:], strict=False):
        if (following.from_quanta - slot.from_quanta) % slot.package_quanta:
            raise BrokenPromise("a slot of rated time is no whole number of its increments long")
    return lower_graduated(terms)
