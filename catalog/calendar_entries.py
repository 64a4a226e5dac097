"""What may stand under `calendars:` and `during:` in a price book."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from catalog.entries import Entry
from catalog.fields import Clock, Country, Day, Flag, Id, Text, Values, Zone, wrong
from catalog.public_holidays import FIRST_YEAR, LAST_YEAR
from schemas.calendar import WEEKDAYS


def read_weekdays(names: list[str]) -> list[str]:
    """[mon-fri, sun] to the days of the week, each once, Monday first."""
    chosen: set[int] = set()
    for name in names:
        first, dash, last = name.partition("-")
        if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
            raise wrong("'{text}' is no day of the week; write mon, tue, wed, thu, fri, sat, sun or mon-fri", text=name)
        start, end = WEEKDAYS.index(first), WEEKDAYS.index(last if dash else first)
        if end < start:
            raise wrong("'{text}' runs backwards; a week begins with mon", text=name)
        chosen.update(range(start, end + 1))
    return [WEEKDAYS[number] for number in sorted(chosen)]


def read_years(names: list[str]) -> list[str]:
    """[2026, 2028-2030] to the years, each once, ascending."""
    chosen: set[int] = set()
    for name in names:
        first, dash, last = name.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise wrong("'{text}' is no year; write 2026 or 2026-2028", text=name)
        start, end = int(first), int(last if dash else first)
        if not FIRST_YEAR <= start <= end <= LAST_YEAR:
            raise wrong("'{text}' is no year between {first} and {last}", text=name, first=FIRST_YEAR, last=LAST_YEAR)
        chosen.update(range(start, end + 1))
    return [str(year) for year in sorted(chosen)]


Weekdays = Annotated[Values, Field(min_length=1), AfterValidator(read_weekdays)]
Years = Annotated[Values, AfterValidator(read_years)]
Days = Annotated[list[Day], Field(max_length=10_000)]


class WindowEntry(Entry):
    name: Id
    days: Weekdays = WEEKDAYS
    from_: Annotated[Clock, Field(alias="from")] = 0
    to: Clock = 1440
    holidays: Literal["exclude", "only"] | None = None


class HolidaysEntry(Entry):
    """A country's public holidays of certain years, and days of one's own. A list is just the days."""

    country: Country | None = None
    subdivision: Text | None = None
    years: Years = Field(default_factory=list)
    working_days: Flag = False
    dates: Days = Field(default_factory=list)
    except_: Annotated[Days, Field(alias="except")] = Field(default_factory=list)
    working_dates: Days = Field(default_factory=list)


class CalendarEntry(Entry):
    id: Id
    zone: Zone | None = None
    windows: Annotated[list[WindowEntry], Field(min_length=1, max_length=100)]
    otherwise: Id
    holidays: Annotated[
        HolidaysEntry | None, BeforeValidator(lambda value: {"dates": value} if isinstance(value, list) else value)
    ] = None
