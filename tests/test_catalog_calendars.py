"""Calendars in the price book: what they become, what is refused, and what must not change once it is published."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from catalog.book_source import read_book
from catalog.diff import diff_books
from catalog.public_holidays import public_days
from catalog.roster_source import read_roster
from catalog.versions import load_book, publish_book
from schemas.book import Book
from schemas.errors import BadCatalog, Refused

WINDOWS = """\
      - {name: peak, days: mon-fri, from: "08:00", to: "20:00", holidays: exclude}
      - {name: night, from: "23:00", to: "07:00"}
"""
BOOK = f"""\
currency: CNY
meters:
  - {{id: calls, event_type: call.ended, aggregation: sum, property: seconds, unit: second, lasts: second}}
  - {{id: energy, event_type: read, aggregation: sum, property: kwh, unit: kWh}}
calendars:
  - id: china
    windows:
{WINDOWS}    otherwise: flat
    holidays: {{country: CN, years: [2026], working_days: true}}
plans:
  - id: pro
    name: Pro
    prices:
      - id: peak
        name: Peak
        meter: calls
        during: {{calendar: china, windows: peak, split: true}}
        versions:
          - {{valid_from: 2026-01-01, model: per_unit, unit_price: 3}}
      - id: off
        name: Off
        meter: calls
        during: {{calendar: china, windows: [flat, night], split: true}}
        versions:
          - {{valid_from: 2026-01-01, model: per_unit, unit_price: 1}}
taxes:
  - {{country: CN, rate: 6%, valid_from: 2020-01-01}}
"""
PEAK = "model: per_unit, unit_price: 3"
DURING = "during: {calendar: china, windows: peak, split: true}"
HOLIDAYS = "{country: CN, years: [2026], working_days: true}"


def read(folder: Path, old: str = "", new: str = "") -> Book:
    """The book with one place changed."""
    assert BOOK.count(old) >= 1
    folder.mkdir(exist_ok=True)
    (folder / "book.yaml").write_text(BOOK.replace(old, new, 1) if old else BOOK)
    return read_book(folder)


def refusal(folder: Path, old: str, new: str) -> str:
    with pytest.raises(BadCatalog) as caught:
        read(folder, old, new)
    return str(caught.value)


def test_a_calendar_is_frozen_with_its_windows_and_days(tmp_path: Path) -> None:
    book = read(tmp_path)
    assert book.calendars.rows() == [("china", None, "flat", ["2026"])]
    assert book.calendar_windows.rows() == [
        ("china", "peak", "08:00", "20:00", "mon tue wed thu fri", "exclude"),
        ("china", "night", "23:00", "07:00", "mon tue wed thu fri sat sun", None),
    ]
    days = dict(book.calendar_days.select("day", "kind").rows())
    assert days[date(2026, 10, 1)] == "holiday"
    assert days[date(2026, 10, 10)] == "working"
    assert {day.year for day in days} == {2026}
    prices = book.prices.sort("price_id").select("price_id", "calendar_id", "windows", "split").rows()
    assert prices == [("off", "china", ["flat", "night"], True), ("peak", "china", ["peak"], True)]


def test_own_days_are_added_to_those_of_the_country_and_taken_from_them(tmp_path: Path) -> None:
    own = "{country: AU, subdivision: NSW, years: 2026-2027, dates: [2026-12-31], except: [2026-04-04]}"
    days = read(tmp_path, HOLIDAYS, own).calendar_days["day"].to_list()
    assert {date(2026, 12, 31), date(2026, 4, 3), date(2026, 10, 5)} <= set(days)  # Labour Day is of the state
    assert date(2026, 4, 4) not in days
    assert days == sorted(days)
    listed = read(tmp_path, HOLIDAYS, "[2026-12-24, 2028-12-24]")
    assert listed.calendars["years"].to_list() == [["2026", "2028"]]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"23:00"', '"19:30"', "windows.1: window 'night' (19:30 to 07:00) overlaps window 'peak' (08:00 to 20:00) of "),
        ('to: "07:00"', 'to: "08:01"', "windows.1: window 'night' (23:00 to 08:01) overlaps window 'peak'"),
        ('{name: night, from: "23:00"', '{name: night, days: sun, from: "23:00"', None),
        ('{name: night, from: "23:00", to: "07:00"}', "{name: night, days: [sat, sun], holidays: only}", None),
        ('{name: night, from: "23:00", to: "07:00"}', "{name: night, holidays: only}", None),
        ('"08:00"', '"8:00"', "windows.0.from: '8:00' is no time of day; write 00:00 to 24:00"),
        ('"20:00"', '"08:00"', "windows.0.to: is when the window begins; write 00:00 and 24:00"),
        ('"23:00"', '"24:00"', "windows.1.from: is the end of the day"),
        ("name: night", "name: flat", "windows.1.name: 'flat' is what 'otherwise' calls the rest"),
        ("mon-fri", "[mon, freitag]", "windows.0.days: 'freitag' is no day of the week"),
        ("mon-fri", "fri-mon", "windows.0.days: 'fri-mon' runs backwards"),
        ("    otherwise: flat\n", "    otherwise: flat\n    zone: Asia/Peking\n", "zone: 'Asia/Peking' is no time zone"),
        (f"    holidays: {HOLIDAYS}\n", "", "windows.0.holidays: needs the calendar's own 'holidays:'"),
        (HOLIDAYS, "{country: CN}", "holidays.years: is missing"),
        (HOLIDAYS, "{country: CN, years: soon}", "holidays.years: 'soon' is no year"),
        (HOLIDAYS, "{country: CN, years: 2101}", "holidays.years: '2101' is no year between 2000 and 2099"),
        (HOLIDAYS, "{country: CN, years: 2060, working_days: true}", "no working day of 2060 is known yet; leave the year out"),
        (HOLIDAYS, "{country: CN, years: 2060, working_days: true, working_dates: [2060-02-07]}", None),
        (HOLIDAYS, "{country: CN, subdivision: NSW, years: 2026}", "holidays.subdivision: 'NSW' is no part of CN"),
        (HOLIDAYS, "{years: 2026}", "holidays: names no day; give a country and years, or dates"),
        (HOLIDAYS, "{subdivision: NSW, years: 2026}", "holidays.country: is missing"),
        (HOLIDAYS, "{country: CN, years: 2026, dates: [2027-01-02]}", "dates.0: 2027-01-02 is in none of the years 2026"),
        (HOLIDAYS, "{country: CN, years: 2026, except: [2026-10-12]}", "except.0: 2026-10-12 is no holiday there anyway"),
        (HOLIDAYS, "{dates: [2026-01-02], working_dates: [2026-01-02]}", "working_dates.0: 2026-01-02 stands in dates too"),
        (HOLIDAYS, "[2026-10-01T00:00:00Z]", "has a time; write the day alone"),
        ("calendar: china", "calendar: chine", "there is no calendar 'chine'; did you mean 'china'?"),
        ("[flat, night]", "[flat, nigth]", "calendar 'china' has no window 'nigth'; did you mean 'night'?"),
        ("[flat, night]", "[flat]", "versions.0: there is no price of this meter in the window night; add one (with 0"),
        ("[flat, night]", "[]", "windows: "),
        ("meter: calls\n", "meter: energy\n", "during.split: needs a meter whose quantity is a time"),
        ("meter: calls\n", "recurring: month\n", "during: is for usage; a recurring price is due whatever the time"),
        ("aggregation: sum, property: seconds", "aggregation: max, property: seconds", "lasts: belongs to a sum of times"),
        (PEAK, f"{PEAK}, fixed: 1", None),
        (PEAK, f"{PEAK}, maximum: 9", "during.split: maximum is of an event as a whole, but 'split' divides it"),
        (PEAK, f"{PEAK}, free_events: 9, included: 1", "during.split: free_events, included is of an event"),
        (PEAK, "model: volume, per: event, tiers: [{unit_price: 1}]", "the model volume takes events as a whole"),
        (PEAK, "model: volume, tiers: [{unit_price: 1}]", None),
        (PEAK, "model: rated_time, tiers: [{unit_price: 1, increment: 1}]", None),
        (PEAK, "model: rated_time, tiers: [{unit_price: 1, increment: 6}]", "has other increments than price 'peak'"),
        (DURING, "during: {calendar: china, windows: peak}", None),
        (f"        {DURING}\n", "", None),
    ],
)
def test_a_calendar_that_does_not_fit_is_refused_where_it_stands(tmp_path: Path, old: str, new: str, said: str | None) -> None:
    if said is None:
        assert read(tmp_path, old, new).calendars.height == 1
    else:
        assert said in refusal(tmp_path, old, new)


def test_an_add_on_may_have_a_price_in_some_windows_alone(tmp_path: Path) -> None:
    assert "in the window night" in refusal(tmp_path, "[flat, night]", "[flat]")
    (tmp_path / "addon").mkdir()
    text = BOOK.replace("[flat, night]", "[flat]").replace("name: Pro", "name: Pro\n    kind: addon")
    (tmp_path / "addon" / "book.yaml").write_text(text)
    assert read_book(tmp_path / "addon").prices.height == 2


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"20:00"', '"21:00"', "calendar china: name peak, begins 08:00, ends 20:00"),
        ("otherwise: flat\n", "otherwise: flat\n    zone: Asia/Shanghai\n", "calendar china: otherwise flat"),
        (
            HOLIDAYS,
            HOLIDAYS.replace("[2026]", "[2026], dates: [2026-09-03]"),
            "calendar china in 2026: nothing -> holiday",
        ),
        ("split: true", "split: false", "price peak version 2026-01-01: "),
        ("lasts: second", "lasts: minute", "price off version 2026-01-01: "),
    ],
)
def test_a_published_calendar_does_not_change(tmp_path: Path, old: str, new: str, named: str) -> None:
    publish_book(read(tmp_path / "catalog"), tmp_path / "books")
    with pytest.raises(Refused) as caught:
        publish_book(read(tmp_path / "catalog", old, new), tmp_path / "books")
    assert named in str(caught.value)


def test_a_year_is_added_to_a_published_calendar_and_the_difference_is_shown(tmp_path: Path) -> None:
    first = publish_book(read(tmp_path / "catalog"), tmp_path / "books")
    years = "{country: CN, years: 2025-2026, working_days: true}"
    second = publish_book(read(tmp_path / "catalog", HOLIDAYS, years), tmp_path / "books")
    assert (first.version, second.version) == (1, 2)
    assert load_book(tmp_path / "books", 1).calendars["years"].to_list() == [["2026"]]
    changes = diff_books(first, second)
    assert ("calendar", "china", None, "changed", "years 2026", "years 2025, 2026") in changes.rows()
    assert ("day", "china", "2025-10-01", "added") in changes.select("what", "id", "version", "change").rows()


def test_own_terms_split_where_the_list_price_does(tmp_path: Path) -> None:
    rated = "model: rated_time, tiers: [{unit_price: 3, increment: 1}]"
    book = read(tmp_path / "catalog", PEAK, rated)
    roster = """\
accounts: [{id: acme, name: Acme, country: CN, currency: CNY, language: en, zone: Asia/Shanghai}]
subscriptions: [{id: s, account: acme, plan: pro, from: 2026-01-01}]
overrides: [{account: acme, price: peak, valid_from: 2026-02-01, terms: {TERMS}}]
"""
    for terms, said in (
        ("model: per_unit, unit_price: 2", None),
        ("model: rated_time, tiers: [{unit_price: 2, increment: 60}]", "has other increments than the list price"),
        ("model: per_unit, unit_price: 2, minimum: 1", "minimum is of an event as a whole"),
    ):
        folder = tmp_path / "roster"
        folder.mkdir(exist_ok=True)
        (folder / "roster.yaml").write_text(roster.replace("TERMS", terms))
        if said is None:
            own = read_roster(folder, book).prices
            assert own.select("calendar_id", "windows", "split").rows() == [("china", ["peak"], True)]
        else:
            with pytest.raises(BadCatalog, match=said):
                read_roster(folder, book)


def test_the_library_knows_the_days_that_are_worked_for_a_holiday() -> None:
    found = public_days("CN", None, [2025])
    assert (date(2025, 10, 1) in found.holidays, date(2025, 10, 11) in found.working) == (True, True)
    assert public_days("DE", "BY", [2026]).working == []
