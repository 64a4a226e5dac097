"""When did it happen: RFC 3339 times, read exactly or refused with the reason.

Any offset is read and becomes UTC. Digits beyond the microsecond are cut off, not rounded, so that a moment just before
midnight stays on its day; for the same reason the leap second 23:59:60 is read as the last microsecond of 23:59:59.
"""

from __future__ import annotations

import polars as pl

from schemas.usage import RejectReason

EARLIEST = "2000-01-01T00:00:00Z"
_DAY_AND_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_RFC_3339 = _DAY_AND_TIME + r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$"


def read_times(texts: pl.Series) -> pl.Series:
    """The moments (microseconds, UTC) of RFC 3339 texts; null where it is none, or no moment of the calendar."""
    if texts.str.contains(":60", literal=True).any():
        texts = texts.str.replace(r"^(.{10}[Tt].{5}):60(?:\.[0-9]+)?", "${1}:59.999999")
    read = texts.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return read.set(~texts.str.contains(_RFC_3339), None)


def judge_times(text: pl.Expr, occurred_at: pl.Expr, received_at: pl.Expr, skew_seconds: int) -> tuple[pl.Expr, pl.Expr]:
    """What is wrong with each time: (a RejectReason or null, a sentence)."""
    quoted = pl.format("`time` is '{}'", text.str.slice(0, 80))
    too_early = occurred_at < pl.lit(EARLIEST).str.to_datetime("%+", time_unit="us", time_zone="UTC")
    too_late = occurred_at > received_at + pl.duration(seconds=skew_seconds)
    zoneless = occurred_at.is_null() & text.str.contains(_DAY_AND_TIME.replace("[Tt]", "[Tt ]") + "$")
    reason = (
        pl.when(zoneless)
        .then(pl.lit(RejectReason.TIME_WITHOUT_ZONE.value))
        .when(occurred_at.is_null() | too_early)
        .then(pl.lit(RejectReason.BAD_TIME.value))
        .when(too_late)
        .then(pl.lit(RejectReason.TIME_IN_FUTURE.value))
    )
    received = received_at.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    detail = (
        pl.when(zoneless)
        .then(pl.format("{}, which names no zone; add Z or an offset such as +08:00.", quoted))
        .when(occurred_at.is_null())
        .then(pl.format("{}, which is no RFC 3339 time such as 2026-10-01T08:00:00+08:00.", quoted))
        .when(too_early)
        .then(pl.format("{}, which is before 2000-01-01; the clock of its sender is probably not set.", quoted))
        .when(too_late)
        .then(pl.format(f"{{}}, more than {skew_seconds} seconds after it was received at {{}}.", quoted, received))
    )
    return reason, detail
