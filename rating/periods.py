"""Days and usage periods where the customer lives: from an instant to the local day and the period it belongs to."""

from __future__ import annotations

import polars as pl


def local_day(frame: pl.DataFrame, instant: str, zone: str = "zone") -> pl.Series:
    """The calendar day of each instant in the row's own zone.

    Args:
        frame: `instant` (INSTANT, may be null) and the column named by `zone` (IANA names).

    Returns:
        Date; of UTC where the zone is null. A zone's changes of clock are those of the time zone database.
    """
    zones = frame[zone].unique().drop_nulls().sort().to_list()
    days = pl.col(instant).dt.date()
    for name in zones:
        days = pl.when(pl.col(zone) == name).then(pl.col(instant).dt.convert_time_zone(name).dt.date()).otherwise(days)
    return frame.select(days.alias(instant))[instant]


def period_start(day: pl.Expr, billing_day: pl.Expr) -> pl.Expr:
    """First day of the usage period that `day` is in; periods start on the account's billing day, 1 to 28."""
    shift = _days_after_first(billing_day)
    return (day - shift).dt.truncate("1mo") + shift


def period_end(start: pl.Expr, billing_day: pl.Expr) -> pl.Expr:
    """The day on which the next usage period starts."""
    shift = _days_after_first(billing_day)
    return (start - shift).dt.offset_by("1mo") + shift


def month_name(day: pl.Expr) -> pl.Expr:
    """`YYYY-MM` of a day."""
    return day.dt.strftime("%Y-%m")


def _days_after_first(billing_day: pl.Expr) -> pl.Expr:
    return pl.duration(days=billing_day.cast(pl.Int64) - 1)
