"""Calendars: which window of the week a moment is in, with the holidays of certain years written out.

A calendar divides all time: a moment that none of its windows holds is in the window called by `otherwise`. Windows are by the
clock on the wall. What depends on holidays is only known for the listed years.
"""

from __future__ import annotations

import polars as pl

from schemas.frames import FrameSchema

CALENDARS = FrameSchema(
    "CALENDARS",
    {
        "calendar_id": pl.String,
        "zone": pl.String,  # IANA; null: that of the account
        "otherwise": pl.String,  # the window of all time that no other holds
        "years": pl.List(pl.String),  # whose holidays are known, ascending; empty: no window looks at holidays
    },
)
"""One row per calendar."""

CALENDAR_WINDOWS = FrameSchema(
    "CALENDAR_WINDOWS",
    {
        "calendar_id": pl.String,
        "name": pl.String,  # of the window; several rows may make up one window
        "begins": pl.String,  # '08:00'
        "ends": pl.String,  # '20:00', excluded; '24:00' is midnight; not after `begins`: on the next day
        "days": pl.String,  # 'mon tue wed': the days on which it begins
        "holidays": pl.String,  # exclude: not on holidays | only: only on them | null: a holiday is like any other day
    },
)
"""One row per stretch of the day that belongs to a window. No two of a calendar overlap."""

CALENDAR_DAYS = FrameSchema(
    "CALENDAR_DAYS",
    {
        "calendar_id": pl.String,
        "day": pl.Date,
        "kind": pl.String,  # holiday | working: a day on which people work instead of another; it counts as a Monday
    },
)
"""One row per day that is not like the others of its weekday."""

HOLIDAY, WORKING = "holiday", "working"

WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

UNIT_MICROSECONDS = {"second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000}
"""How long a unit of a meter with `lasts` is."""

LONGEST_SPLIT_MICROSECONDS = 31 * 24 * 3_600_000_000
"""An event that is split between windows lasts at most 31 days: each piece of it is worked out."""
