"""Every aggregation a meter may have that needs the points of its aggregates. sum, count and max get by with one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from rating.aggregates.levels import (
    follow_average_of_changes,
    follow_days_of_changes,
    follow_hours_of_changes,
    follow_seconds_of_changes,
    follow_time_average,
    follow_unit_days,
    follow_unit_hours,
    follow_unit_seconds,
)
from rating.aggregates.peaks import follow_peak
from rating.aggregates.tops import follow_daily_max, follow_hourly_max, follow_latest, follow_max, follow_min
from rating.aggregates.unique import follow_unique

Follow = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
"""MOVES (new ones and the points that were there) and SPANS -> STATES of the new ones."""

KEPT: Mapping[str, Follow] = {
    "min": follow_min,
    "unique": follow_unique,
    "latest": follow_latest,
    "hourly_max": follow_hourly_max,
    "daily_max": follow_daily_max,
    "unit_seconds": follow_unit_seconds,
    "unit_hours": follow_unit_hours,
    "unit_days": follow_unit_days,
    "time_average": follow_time_average,
    "seconds_of_changes": follow_seconds_of_changes,
    "hours_of_changes": follow_hours_of_changes,
    "days_of_changes": follow_days_of_changes,
    "average_of_changes": follow_average_of_changes,
    "peak": follow_peak,
}
"""Aggregation -> how it follows its moves. The points of these are kept in memory (rating/aggregates/points.py)."""

FOLLOW: Mapping[str, Follow] = {**KEPT, "max": follow_max}
"""KEPT, and max, whose points are looked up in the ledger when an event of it is taken back, and only then."""

OF_CHANGES = frozenset(name for name in KEPT if name.endswith("_of_changes"))
"""Aggregations of a level whose events say by how much it changes."""

NEGATIVE = OF_CHANGES | {"peak"}
"""Aggregations whose quantities may be below zero."""
