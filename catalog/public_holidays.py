"""Public holidays of a country, and the days on which people work instead, as the `holidays` library knows them.

They are asked for when the price book is read and written out into it; nothing that rates knows the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import holidays


class PublicDays(NamedTuple):
    """Days of the years that were asked for, ascending."""

    holidays: list[date]
    working: list[date]


FIRST_YEAR, LAST_YEAR = 2000, 2099
"""Years that a price book may name."""


def known_subdivisions(country: str) -> list[str]:
    """Codes of the country's parts that have holidays of their own."""
    return sorted(holidays.list_supported_countries(include_aliases=False).get(country, []))


def public_days(country: str, subdivision: str | None, years: Sequence[int]) -> PublicDays:
    """The holidays of these years, and the weekend days that are worked because of them. The country and part must be known."""
    found = holidays.country_holidays(country, subdiv=subdivision, years=years)
    worked = getattr(found, "weekend_workdays", None) or ()
    return PublicDays(sorted(day for day in found if day.year in years), sorted(day for day in worked if day.year in years))
