"""Calendars of a price book: windows that do not overlap, and the holidays of the listed years written out.

A window belongs to the day on which it begins, also where it runs over midnight. A day on which people work instead of
another counts as a Monday.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import combinations, product

from catalog.calendar_entries import CalendarEntry, HolidaysEntry, WindowEntry
from catalog.problems import Place, Problems, did_you_mean
from catalog.public_holidays import known_subdivisions, public_days
from schemas.calendar import HOLIDAY, WEEKDAYS, WORKING

Row = dict[str, object]
DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class CalendarRows:
    """A calendar as the rows of its frames."""

    calendar: Row
    windows: list[Row]
    days: list[Row]


def check_calendar(entry: CalendarEntry, place: Place, problems: Problems) -> CalendarRows:
    """The calendar's rows, with the mistakes noted."""
    for index, window in enumerate(entry.windows):
        _check_window(entry, window, place.at("windows", index), problems)
    _check_overlaps(entry, place, problems)
    key: Row = {"calendar_id": entry.id}
    days, years = _days_of(entry.holidays, place.at("holidays"), problems)
    windows = [
        key
        | {"name": window.name, "begins": _clock(window.from_), "ends": _clock(window.to)}
        | {"days": " ".join(window.days), "holidays": window.holidays}
        for window in entry.windows
    ]
    calendar = key | {"zone": entry.zone, "otherwise": entry.otherwise, "years": years}
    return CalendarRows(calendar, windows, [key | {"day": day, "kind": kind} for day, kind in sorted(days.items())])


def window_names(entry: CalendarEntry) -> list[str]:
    """Every window of a calendar, the rest included, in the order in which they stand."""
    return list(dict.fromkeys([*(window.name for window in entry.windows), entry.otherwise]))


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _check_window(entry: CalendarEntry, window: WindowEntry, place: Place, problems: Problems) -> None:
    if window.from_ == DAY_MINUTES:
        problems.add(place.at("from"), "is the end of the day; a window begins at 00:00 to 23:59")
    if window.from_ == window.to:
        problems.add(place.at("to"), "is when the window begins; write 00:00 and 24:00 for a whole day")
    if window.name == entry.otherwise:
        text = f"'{window.name}' is what 'otherwise' calls the rest; choose another name, or leave the window out"
        problems.add(place.at("name"), text)
    if window.holidays is not None and entry.holidays is None:
        problems.add(place.at("holidays"), "needs the calendar's own 'holidays:', which says which days those are")


def _check_overlaps(entry: CalendarEntry, place: Place, problems: Problems) -> None:
    """No moment of any week, whatever its holidays, is in two windows."""
    spans = [(index, window) for index, window in enumerate(entry.windows) if window.from_ != window.to]
    for (first, one), (second, other) in combinations(spans, 2):
        if any(_meet(parts) for parts in _day_parts(entry, one, other)):
            text = (
                f"window '{other.name}' ({_clock(other.from_)} to {_clock(other.to)}) overlaps "
                f"window '{one.name}' ({_clock(one.from_)} to {_clock(one.to)}) of {place.at('windows', first)}"
            )
            problems.add(place.at("windows", second), text)


def _day_parts(entry: CalendarEntry, *windows: WindowEntry) -> Iterator[list[list[tuple[int, int]]]]:
    """For each two days that may follow each other: the minutes of the second day that each window holds."""
    kinds: list[str | None] = [None, *([] if entry.holidays is None else [HOLIDAY, WORKING])]
    for weekday, before, kind in product(range(7), kinds, kinds):
        yield [
            [
                *_minutes(window, weekday, before, -DAY_MINUTES),
                *_minutes(window, (weekday + 1) % 7, kind, 0),
            ]
            for window in windows
        ]


def _minutes(window: WindowEntry, weekday: int, kind: str | None, shift: int) -> list[tuple[int, int]]:
    """Where the window lies when it begins on such a day, cut to the day that is looked at."""
    counts_as = WEEKDAYS[0 if kind == WORKING else weekday]
    barred = {"exclude": kind == HOLIDAY, "only": kind != HOLIDAY}
    if counts_as not in window.days or (window.holidays is not None and barred[window.holidays]):
        return []
    end = window.to + (DAY_MINUTES if window.to <= window.from_ else 0)
    start, end = max(window.from_ + shift, 0), min(end + shift, DAY_MINUTES)
    return [(start, end)] if start < end else []


def _meet(parts: list[list[tuple[int, int]]]) -> bool:
    one, other = parts
    return any(a < end and start < b for a, b in one for start, end in other)


def _days_of(entry: HolidaysEntry | None, place: Place, problems: Problems) -> tuple[dict[date, str], list[str]]:
    """Kind of each day that is not like others, and the years for which that is known."""
    if entry is None:
        return {}, []
    own = [*entry.dates, *entry.working_dates]
    years = entry.years or sorted({str(day.year) for day in own})
    days: dict[date, str] = {}
    if entry.country is not None:
        days = _public(entry, entry.country, [int(year) for year in years], place, problems)
    elif entry.subdivision is not None or entry.working_days or entry.except_:
        problems.add(place.at("country"), "is missing; say whose public holidays are meant")
    elif not own:
        problems.add(place, "names no day; give a country and years, or dates")
    for name, listed in (("dates", entry.dates), ("working_dates", entry.working_dates), ("except", entry.except_)):
        for index, day in enumerate(listed):
            if str(day.year) not in years:
                problems.add(place.at(name, index), f"{day} is in none of the years {', '.join(years)}; add its year")
    for index, day in enumerate(entry.except_):
        if days.pop(day, None) is None and entry.country is not None and str(day.year) in years:
            problems.add(place.at("except", index), f"{day} is no holiday there anyway; remove it")
    days |= dict.fromkeys(entry.dates, HOLIDAY)
    for index, day in enumerate(entry.working_dates):
        if day in entry.dates:
            problems.add(place.at("working_dates", index), f"{day} stands in dates too; keep one of them")
    days |= dict.fromkeys(entry.working_dates, WORKING)
    if entry.working_days:
        _check_working_years(days, years, place, problems)
    return days, years


def _public(entry: HolidaysEntry, country: str, years: list[int], place: Place, problems: Problems) -> dict[date, str]:
    if not years:
        problems.add(place.at("years"), "is missing; list the years whose holidays are written out, for example 2026-2027")
        return {}
    parts = known_subdivisions(country)
    if entry.subdivision is not None and entry.subdivision not in parts:
        hint = did_you_mean(entry.subdivision, parts)
        problems.add(place.at("subdivision"), f"'{entry.subdivision}' is no part of {country} with own holidays{hint}")
        return {}
    found = public_days(country, entry.subdivision, years)
    days = dict.fromkeys(found.holidays, HOLIDAY)
    return days | dict.fromkeys(found.working, WORKING) if entry.working_days else days


def _check_working_years(days: dict[date, str], years: list[str], place: Place, problems: Problems) -> None:
    """A country that makes up for holidays says when only some weeks ahead; until then a year is a guess."""
    for year in years:
        if not any(kind == WORKING and str(day.year) == year for day, kind in days.items()):
            text = f"no working day of {year} is known yet; leave the year out until it is, or list its 'working_dates:'"
            problems.add(place.at("years"), text)
