"""Whether what a price counts can be counted as it says: over whose usage a total may go, and how long."""

from __future__ import annotations

from catalog.entries import TermsEntry
from catalog.models import Metered
from catalog.problems import Place, Problems

OF_ONE = ("latest", "unit_seconds", "unit_hours", "unit_days", "time_average")
"""Aggregations of a state that an event sets: what one subscription reports would replace what another did."""

ANEW = ("sum", "count", "max", "min", "unique")
"""Aggregations that may begin anew each hour or day. What was there before, a level or who has joined, does not end with it."""


def check_counting(terms: TermsEntry, metered: Metered | None, place: Place, problems: Problems) -> None:
    """Notes what cannot be counted.

    Args:
        metered: The meter; None when it is unknown or the price is recurring.
    """
    if metered is None:
        return
    over = terms.counted_over or "subscription"
    if over != "subscription" and metered.aggregation in OF_ONE:
        text = f"is {over}, but {metered.aggregation} is the state of one thing; count it per subscription, or use a sum or max"
        problems.add(place.at("counted_over"), text)
    if terms.within is None:
        return
    if metered.aggregation not in ANEW:
        text = f"is {terms.within}, but {metered.aggregation} goes on from one to the next; only {', '.join(ANEW)} begin anew"
        problems.add(place.at("within"), text)
    if terms.flat_at_zero:
        problems.add(
            place.at("flat_at_zero"), "is for a whole usage period; a price within hours or days has no fee at zero usage"
        )
