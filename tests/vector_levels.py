"""How cases whose quantity is a level over time are written: a price, and the changes of the level. No tests in here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.rating_world import Row, World, event, instant, one_price, tiers
from tests.vector_cases import Case

PERIODS = {31: "2026-10-01", 30: "2026-11-01"}
"""The first day of a usage period of so many days."""

TIMELINES: dict[str, tuple[int, list[tuple[int, int]]]] = {
    "lago_prorated_graduated-027": (30, [(10, 1), (13, -1)]),
    "lago_prorated_graduated-028": (30, [(10, 1), (13, -1), (14, 1)]),
    "lago_prorated_graduated-030": (30, [(10, 1), (13, -1), (14, 1), (15, 1), (20, 1)]),
    "lago_prorated_graduated-034": (31, [(1, 1), (18, -1), (19, 1)]),
    "lago_prorated_graduated-038": (31, [(1, 1), (7, 1)]),
    "lago_prorated_graduated-039": (31, [(1, 1), (7, 1), (8, -2)]),
}
"""Cases that say in their name and formula when a seat came and went: days of the period, (day, change) at its beginning.
In Lago the day on which a seat is removed still counts, so it goes when that day is over."""


def write_levels(charge: Case, *, default_zero: str, **more: Any) -> World:
    """Each moment is priced by itself, at the tier in which the level stands."""
    rows = tiers(*((tier["up_to"], tier.get("unit_price", "0"), tier.get("flat", "0")) for tier in charge["tiers"]))
    model = "volume" if charge["model"] == "volume" else "graduated"
    return one_price(model, rows, per="level", aggregation="average_of_changes", **more)


def write_average(charge: Case, **more: Any) -> World:
    """The case asserts a quantity of five decimals: it is what costs 1 a unit."""
    return one_price("per_unit", tiers((None, "1")), aggregation="average_of_changes", scale=5)


LEVEL_WRITERS: dict[str, tuple[Callable[..., World], set[str]]] = {
    "prorated_graduated": (write_levels, {"tiers"}),
}
"""Model -> how it is written as a price, and the parameters that this understands; any other fails the case."""


def write_changes(case: Case) -> list[Row]:
    """The changes of the case's level. What is carried over from the period before is said again when the period begins."""
    if case["id"] in TIMELINES:
        days, timeline = TIMELINES[case["id"]]
        return [_change(n, change, _day(days, day)) for n, (day, change) in enumerate(timeline)]
    if case["aggregation"] == "weighted_sum":
        return [_change(n, one["delta"], _at(one["at"])) for n, one in enumerate(case["events"])]
    if case["charge"].get("tier_chosen_by") == "full_units":  # 300 units that are there for 0.662 of the period
        return [_change(0, 300, _left(30, Decimal(case["quantities"][0]) / 300))]
    shares = [Decimal(one["prorated_units"]) / Decimal(one["units"]) for one in case["events"]]
    days = min(PERIODS, key=lambda count: sum(abs(share * count - round(share * count)) for share in shares))
    whole = [Decimal(round(share * days)) / days for share in shares]
    return [
        _change(n, one["units"], _left(days, share)) for n, (one, share) in enumerate(zip(case["events"], whole, strict=True))
    ]


def _change(number: int, change: object, at: datetime) -> Row:
    return event(f"e{number}", str(change), occurred_at=at)


def _day(days: int, day: int) -> datetime:
    return instant(PERIODS[days]) + timedelta(days=day - 1)


def _left(days: int, share: Decimal) -> datetime:
    """The moment from which this share of the period is left."""
    return instant(PERIODS[days]) + timedelta(seconds=float(days * 86_400 * (1 - share)))


def _at(text: str) -> datetime:
    """A moment of August 2023 in the period of as many days."""
    begins = instant(PERIODS[31])
    return begins if text == "carried" else begins + (datetime.fromisoformat(text) - instant("2023-08-01"))
