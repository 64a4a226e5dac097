"""When did it happen: RFC 3339 times, read exactly or refused with the reason.

Any offset is read and becomes UTC. Digits beyond the microsecond are cut off, not rounded, so that a moment just before
midnight stays on its day; for the same reason the leap second 23:59:60 is read as the last microsecond of 23:59:59.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.text_views import Bytes, Places
from rating.compiled import compiled, part
from schemas.frames import INSTANT
from schemas.usage import RejectReason

EARLIEST = "2000-01-01T00:00:00Z"
_DAY_AND_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_UNUSUAL = -(1 << 63)
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


def read_times_at(text: bytes, start: Places, stop: Places) -> pl.Series:
    """`read_times` of the texts that stand in `text` from `start` to `stop`; null where start is below 0.

    The usual ways to write a time are read in one pass; all others, and whatever is none, by `read_times`.
    """
    moments = np.empty(len(start), np.int64)
    unusual = np.zeros(len(start), np.bool_)
    if _read_moments(np.frombuffer(text, np.uint8), start, stop, moments, unusual):
        strange = np.flatnonzero(unusual)
        texts = [
            text[first:last].decode() if first >= 0 else None for first, last in zip(start[strange], stop[strange], strict=True)
        ]
        read = pl.Series(moments).cast(INSTANT)
        return read.scatter(pl.Series(strange), read_times(pl.Series(texts, dtype=pl.String)))
    return pl.Series(moments).cast(INSTANT)


@part
def _number(text: Bytes, at: int, digits: int) -> int:
    """The number of so many digits that stands here; -1 if there is none."""
    number = 0
    for place in range(at, at + digits):
        digit = int(text[place]) - 48
        if digit < 0 or digit > 9:
            return -1
        number = number * 10 + digit
    return number


@part
def _days_since_1970(year: int, month: int, day: int) -> int:
    """Of the Gregorian calendar, counted in years that begin in March (Hinnant, "chrono-compatible date algorithms")."""
    if month <= 2:
        year -= 1
    era, month_from_march = year // 400, (month + 9) % 12
    year_of_era = year - era * 400
    day_of_year = (153 * month_from_march + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


@part
def _days_of_month(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@part
def _read_moment(text: Bytes, at: int, end: int) -> int:
    """Microseconds since 1970 of `2026-10-12T08:00:00.123Z` or `...+08:00`; _UNUSUAL if it is not written like that."""
    if end - at < 20 or text[at + 4] != 45 or text[at + 7] != 45 or text[at + 10] != 84:
        return _UNUSUAL
    if text[at + 13] != 58 or text[at + 16] != 58:
        return _UNUSUAL
    year, month, day = _number(text, at, 4), _number(text, at + 5, 2), _number(text, at + 8, 2)
    hour, minute, second = _number(text, at + 11, 2), _number(text, at + 14, 2), _number(text, at + 17, 2)
    if year < 1 or not 1 <= month <= 12 or not 1 <= day <= _days_of_month(year, month):
        return _UNUSUAL
    if not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59:
        return _UNUSUAL
    at += 19
    micros, weight = 0, 100_000
    if text[at] == 46:
        at += 1
        fraction = at
        while 48 <= text[at] <= 57:  # ends with the text at the latest: a quote follows it
            micros += (int(text[at]) - 48) * weight
            weight //= 10
            at += 1
        if at == fraction or at - fraction > 9:
            return _UNUSUAL
    offset = 0
    if text[at] == 43 or text[at] == 45:
        hours, minutes = _number(text, at + 1, 2), _number(text, at + 4, 2)
        if end - at != 6 or text[at + 3] != 58 or not 0 <= hours <= 18 or not 0 <= minutes <= 59:
            return _UNUSUAL
        offset = (hours * 60 + minutes) * (1 if text[at] == 43 else -1)
    elif text[at] != 90 or end - at != 1:
        return _UNUSUAL
    seconds = _days_since_1970(year, month, day) * 86_400 + hour * 3_600 + (minute - offset) * 60 + second
    return seconds * 1_000_000 + micros


@compiled
def _read_moments(text: Bytes, start: Places, stop: Places, moments: Places, unusual: npt.NDArray[np.bool_]) -> int:
    """The moment of each text; returns how many are unusual."""
    found = 0
    for i in range(len(start)):
        moment = _read_moment(text, start[i], stop[i]) if start[i] >= 0 else _UNUSUAL
        unusual[i] = moment == _UNUSUAL
        found += unusual[i]
        moments[i] = moment
    return found
