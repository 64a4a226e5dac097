"""Calendars at work: the instants at which another window begins, in any zone, and which window a moment is in.

What decides is the clock on the wall at that very moment. So where a clock is set back the hour that it shows twice is in its
windows twice, and where it is set forward the hour that it skips is in none; elapsed time is that of UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from schemas.book import Book
from schemas.calendar import HOLIDAY, WEEKDAYS, WORKING
from schemas.frames import INSTANT, FrameSchema

CHANGES = FrameSchema(
    "CHANGES",
    {
        "at": INSTANT,
        "window": pl.String,  # in force from then until the next row; null: the holidays of that year are not known
    },
)
"""One row per instant at which another window begins, ascending; the first row is where the answer begins."""

DURING = FrameSchema(
    "DURING",
    {
        "during": pl.UInt32,
        "calendar_id": pl.String,
        "names": pl.List(pl.String),  # of the windows
        "split": pl.Boolean,
    },
)
"""One row per set of windows in which some price holds."""

_DAY = timedelta(days=1)
_MINUTE = 60
_DAY_SECONDS = 24 * 60 * _MINUTE


class _Window(NamedTuple):
    """A stretch of the day that belongs to a window; seconds since midnight."""

    name: str
    begins: int
    ends: int  # above a day's seconds: on the next day
    weekdays: list[int]  # 1 is Monday
    holidays: str | None


class Calendar:
    """One calendar. Remembers the changes that it has worked out, zone by zone."""

    def __init__(self, zone: str | None, otherwise: str, years: list[str], windows: list[_Window], days: pl.DataFrame) -> None:
        self.zone = zone
        self._otherwise = otherwise
        self._years = [int(year) for year in years]
        self._windows = windows
        self._days = days
        self._known: dict[str, tuple[date, date, pl.DataFrame]] = {}

    def changes(self, zone: str, first: datetime, last: datetime) -> pl.DataFrame:
        """CHANGES of this zone that cover at least all moments from `first` to `last`, both included."""
        start, end = first.date() - 2 * _DAY, last.date() + 2 * _DAY
        if zone in self._known:
            known_start, known_end, changes = self._known[zone]
            if known_start <= start and end <= known_end:
                return changes
            start, end = min(start, known_start), max(end, known_end)
        changes = self._work_out(zone, start, end)
        self._known[zone] = start, end, changes
        return changes

    def _work_out(self, zone: str, start: date, end: date) -> pl.DataFrame:
        minutes = sorted({0, *(second % _DAY_SECONDS for w in self._windows for second in (w.begins, w.ends))})
        clock = pl.DataFrame({"second": minutes}, schema={"second": pl.Int64})
        days = pl.date_range(start, end, eager=True).alias("day").to_frame()
        shown = days.join(clock, how="cross").select(
            local=pl.col("day").cast(pl.Datetime("us")) + pl.duration(seconds="second")
        )["local"]
        # A clock that is set back shows a time twice; one that is set forward skips it, and then the setting is the change.
        shows = [
            shown.dt.replace_time_zone(zone, ambiguous=which, non_existent="null").dt.convert_time_zone("UTC")
            for which in ("earliest", "latest")
        ]
        settings = pl.Series("local", clock_settings(zone, start, end), INSTANT)
        at = pl.concat([*shows, settings]).drop_nulls().unique().sort().alias("at")
        local = at.dt.convert_time_zone(zone)
        told = pl.DataFrame({"at": at, "day": local.dt.date(), "second": _second_of_day(local)})
        window = pl.col("window")
        return CHANGES.select(self._judge(told).filter(window.ne_missing(window.shift(1)) | (pl.int_range(pl.len()) == 0)))

    def _judge(self, told: pl.DataFrame) -> pl.DataFrame:
        """`told` with `window`, that of the time which the clock shows."""
        rows = told.with_columns(before=pl.col("day") - pl.duration(days=1))
        for name in ("day", "before"):
            kinds = self._days.select(pl.col("day").alias(name), pl.col("kind").alias(f"{name}_kind"))
            rows = rows.join(kinds, on=name, how="left", maintain_order="left")
        window = pl.lit(self._otherwise)
        second = pl.col("second")
        for w in self._windows:
            today = _begins_on(w, "day") & (second >= w.begins) & (second < w.ends)
            since_yesterday = _begins_on(w, "before") & (second + _DAY_SECONDS < w.ends)
            window = pl.when(today | since_yesterday).then(pl.lit(w.name)).otherwise(window)
        looked_at = ["day", "before"] if any(w.ends > _DAY_SECONDS for w in self._windows) else ["day"]
        known = (
            pl.all_horizontal(pl.col(name).dt.year().is_in(self._years) for name in looked_at) if self._years else pl.lit(True)
        )
        return rows.with_columns(window=pl.when(known).then(window))


def compile_calendars(book: Book) -> dict[str, Calendar]:
    """The book's calendars by id."""
    windows: dict[str, list[_Window]] = {}
    for row in book.calendar_windows.iter_rows(named=True):
        begins, ends = _seconds(row["begins"]), _seconds(row["ends"])
        weekdays = [WEEKDAYS.index(day) + 1 for day in row["days"].split()]
        ends += _DAY_SECONDS if ends <= begins else 0
        windows.setdefault(row["calendar_id"], []).append(_Window(row["name"], begins, ends, weekdays, row["holidays"]))
    days = book.calendar_days.select("calendar_id", "day", "kind")
    return {
        name: Calendar(
            zone, otherwise, years, windows.get(name, []), days.filter(pl.col("calendar_id") == name).drop("calendar_id")
        )
        for name, zone, otherwise, years in book.calendars.select("calendar_id", "zone", "otherwise", "years").iter_rows()
    }


def number_windows(prices: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """PRICES with `during`, their row of DURING (null: they hold at all times), in the same order; and DURING."""
    key = ["calendar_id", "joined", "split"]
    named = prices.with_columns(pl.col("windows").list.join(",").alias("joined"))
    sets = named.filter(pl.col("calendar_id").is_not_null()).unique(key, maintain_order=True).with_row_index("during")
    numbered = named.join(sets.select("during", *key), on=key, how="left", maintain_order="left")
    return numbered.drop("joined"), DURING.select(sets.rename({"windows": "names"}))


def clock_settings(zone: str, start: date, end: date) -> list[datetime]:
    """The instants of these days (of UTC) at which the clocks of a zone are set."""
    days = pl.datetime_range(
        datetime.combine(start, time()), datetime.combine(end + _DAY, time()), "1d", time_zone="UTC", eager=True
    )
    local = days.dt.convert_time_zone(zone)
    offset = (local.dt.base_utc_offset() + local.dt.dst_offset()).alias("offset")
    moved = (offset != offset.shift(1)).fill_null(False).arg_true()
    return [_bisect(ZoneInfo(zone), days[int(row) - 1], days[int(row)]) for row in moved]


def _bisect(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The second at which the offset becomes that of `after`."""
    low, high = int(before.timestamp()), int(after.timestamp())
    wanted = after.astimezone(zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == wanted:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


def _begins_on(window: _Window, day: str) -> pl.Expr:
    """Whether the window begins on the day in this column."""
    kind = pl.col(f"{day}_kind")
    holiday = (kind == HOLIDAY).fill_null(False)
    weekday = pl.when((kind == WORKING).fill_null(False)).then(pl.lit(1, pl.Int8)).otherwise(pl.col(day).dt.weekday())
    on = weekday.is_in(window.weekdays)
    if window.holidays is None:
        return on
    return on & (holiday if window.holidays == "only" else ~holiday)


def _seconds(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return (int(hours) * 60 + int(minutes)) * _MINUTE


def _second_of_day(local: pl.Series) -> pl.Series:
    return (
        local.dt.hour().cast(pl.Int64) * 3600 + local.dt.minute().cast(pl.Int64) * 60 + local.dt.second().cast(pl.Int64)
    ).alias("second")
