"""Whether what a price counts can be counted as it says: over whose usage a total may go."""

from __future__ import annotations

from catalog.entries import TermsEntry
from catalog.models import Metered
from catalog.problems import Place, Problems

OF_ONE = ("latest", "unit_seconds", "unit_hours", "unit_days", "time_average")
"""Aggregations of a state that an event sets: what one subscription reports would replace what another did."""


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
