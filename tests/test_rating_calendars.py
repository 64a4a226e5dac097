"""Prices by the clock: every quantum of an event is in one window, and a slow walk over the wall clock agrees."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rating.calendars import clock_settings, compile_calendars
from schemas.calendar import UNIT_MICROSECONDS, WEEKDAYS
from tests.examples import examples
from tests.rating_world import Desk, World, event, instant, tiers

Window = tuple[str, str, str, str, str | None]

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "America/Santiago", "Asia/Kathmandu"]
ALL_DAYS = " ".join(WEEKDAYS)
HOLIDAYS = ["2026-10-01", "2026-10-23", "2026-10-24", "2026-11-02", "2026-03-09"]
WORKING = ["2026-10-25", "2026-11-01", "2026-03-08", "2026-03-29"]
PEAK: list[Window] = [("peak", "08:00", "20:00", "mon tue wed thu fri", None)]


def clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@st.composite
def windows(draw: st.DrawFn) -> list[Window]:
    """Four windows that share no time of day: on weekdays, every day, on holidays, and over midnight."""
    cuts = sorted(draw(st.lists(st.integers(0, 1439), min_size=4, max_size=4, unique=True)))
    a, b, c, d = map(clock, cuts)
    return [
        ("weekday", a, b, "mon tue wed thu fri", draw(st.sampled_from([None, "exclude"]))),
        ("daily", b, c, ALL_DAYS, None),
        ("holiday", c, d, ALL_DAYS, "only"),
        ("night", d, a, draw(st.sampled_from([ALL_DAYS, "sat sun", "fri"])), draw(st.sampled_from([None, "exclude"]))),
    ]


def walk(window_list: list[Window], local: datetime) -> str:
    """The window by what the clock on the wall says."""

    def begins_on(window: Window, day: date) -> bool:
        weekday = 0 if day.isoformat() in WORKING else day.weekday()
        is_holiday = day.isoformat() in HOLIDAYS
        allowed = {None: True, "exclude": not is_holiday, "only": is_holiday}[window[4]]
        return WEEKDAYS[weekday] in window[3].split() and allowed

    now = f"{local:%H:%M}"
    for window in window_list:
        name, begins, ends, *_ = window
        if begins < ends:
            inside = begins <= now < ends and begins_on(window, local.date())
        else:
            since = local.date() - timedelta(days=1)
            inside = (now >= begins and begins_on(window, local.date())) or (now < ends and begins_on(window, since))
        if inside:
            return name
    return "rest"


def split_world(
    window_list: list[Window], zone: str = "UTC", *, lasts: str = "second", scale: int = 0, time_is: str | None = None
) -> World:
    """A meter of times in the account's zone."""
    world = World().meter(lasts=lasts, quantity_scale=scale, time_is=time_is).account(zone=zone).subscription()
    return world.calendar(window_list).days("holiday", *HOLIDAYS).days("working", *WORKING)


def names_of(window_list: list[Window]) -> list[str]:
    return [*dict.fromkeys(window[0] for window in window_list), "rest"]


def during(*names: str, split: bool = True) -> dict[str, Any]:
    return {"calendar_id": "clock", "windows": list(names), "split": split}


MOMENTS = st.one_of(
    st.datetimes(datetime(2026, 10, 23), datetime(2026, 10, 25, 12)),  # Berlin falls back, Lord Howe has sprung
    st.datetimes(datetime(2026, 10, 31), datetime(2026, 11, 2)),  # New York falls back
    st.datetimes(datetime(2026, 3, 7), datetime(2026, 3, 9)),  # New York springs forward
    st.datetimes(datetime(2026, 3, 28), datetime(2026, 3, 29, 12)),  # Berlin springs forward
    st.datetimes(datetime(2026, 4, 3), datetime(2026, 4, 5)),  # Lord Howe falls back by half an hour, Santiago by an hour
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
).map(lambda moment: moment.replace(tzinfo=UTC))
UNITS = st.sampled_from([("minute", 0), ("second", 0), ("hour", 2), ("minute", 1)])


@examples(15)
@given(windows(), st.sampled_from(ZONES), UNITS, st.sampled_from([None, "end"]), MOMENTS, st.integers(0, 3000))
def test_the_parts_of_an_event_are_what_a_walk_over_the_clock_counts_and_add_up(
    window_list: list[Window], zone: str, unit: tuple[str, int], time_is: str | None, moment: datetime, quanta: int
) -> None:
    lasts, scale = unit
    world = split_world(window_list, zone, lasts=lasts, scale=scale, time_is=time_is)
    for name in names_of(window_list):
        world.price(name, **during(name))
    desk = Desk(world.terms())
    desk.rate(event("e", str(Decimal(quanta).scaleb(-scale)), occurred_at=moment))
    assert desk.reasons == []

    each = Decimal(UNIT_MICROSECONDS[lasts]).scaleb(-scale)
    begins = moment - timedelta(microseconds=int(each * quanta)) if time_is == "end" else moment
    starts = (begins + timedelta(microseconds=int(each * number)) for number in range(quanta))
    counted = Counter(walk(window_list, start.astimezone(ZoneInfo(zone))) for start in starts)
    found = {row["price_id"]: row["quantity_quanta"] for row in desk.postings.iter_rows(named=True)}
    assert found == (dict(counted) or {walk(window_list, begins.astimezone(ZoneInfo(zone))): 0})
    assert desk.postings["quantity_quanta"].sum() == quanta
    assert set(desk.postings["reported_quanta"].drop_nulls()) <= {quanta}


@examples(15)
@given(
    windows(), st.sampled_from(ZONES), MOMENTS, st.integers(0, 100_000), st.sampled_from([(60, 6), (1, 1), (30, 10), (60, 60)])
)
@example(PEAK, "UTC", instant("2026-10-12T07:59:30"), 90, (60, 6))
def test_a_call_pays_each_increment_at_the_rate_in_force_when_it_begins_and_connects_once(
    window_list: list[Window], zone: str, moment: datetime, seconds: int, increments: tuple[int, int]
) -> None:
    first, following = increments
    rates = {name: (Decimal(number + 1), Decimal(number)) for number, name in enumerate(names_of(window_list))}
    world = split_world(window_list, zone)
    for name, (rate, connect) in rates.items():
        rows = tiers(("60", str(rate), str(connect)), (None, str(rate * 2)))
        sizes = [{"package_size": Decimal(size), "per_units": Decimal(1)} for size in (first, following)]
        steps = [row | size for row, size in zip(rows, sizes, strict=True)]
        world.price(name, steps, model="rated_time", per="event", **during(name))
    desk = Desk(world.terms())
    desk.rate(event("e", str(seconds), occurred_at=moment))

    local = [walk(window_list, moment.astimezone(ZoneInfo(zone)))]
    cost, at = rates[local[0]][1] if seconds else Decimal(0), 0
    while at < seconds:
        name = walk(window_list, (moment + timedelta(seconds=at)).astimezone(ZoneInfo(zone)))
        size, times = (first, 1) if at < 60 else (following, 2)
        cost += rates[name][0] * times * size
        at += size
    assert desk.total() == cost
    assert desk.postings["quantity_quanta"].sum() == seconds


@examples(15)
@given(windows(), st.sampled_from(ZONES), st.lists(MOMENTS, min_size=1, max_size=6), st.sampled_from([None, "end"]))
def test_without_split_an_event_is_in_the_window_of_its_time_and_one_that_has_ended_then_in_that_before(
    window_list: list[Window], zone: str, moments: list[datetime], time_is: str | None
) -> None:
    world = split_world(window_list, zone, time_is=time_is)
    for name in names_of(window_list):
        world.price(name, **during(name, split=False))
    desk = Desk(world.terms())
    desk.rate(*(event(f"e{number}", "5", occurred_at=moment) for number, moment in enumerate(moments)))
    before = timedelta(microseconds=1) if time_is == "end" else timedelta()
    wanted = [walk(window_list, (moment - before).astimezone(ZoneInfo(zone))) for moment in moments]
    assert desk.postings["price_id"].to_list() == wanted
    assert desk.postings["windows"].to_list() == wanted
    assert desk.postings["reported_quanta"].null_count() == len(moments)


@examples(10)
@given(windows(), st.lists(st.tuples(MOMENTS, st.integers(0, 90_000)), min_size=2, max_size=6), st.data())
def test_a_month_costs_the_same_for_any_order_and_cut_and_nothing_once_all_is_taken_back(
    window_list: list[Window], usage: list[tuple[datetime, int]], data: st.DataObject
) -> None:
    def world() -> World:
        made = split_world(window_list, "Europe/Berlin")
        for number, name in enumerate(names_of(window_list)):
            rows = tiers(("3600", str(number + 1)), (None, "1", "7"))
            made.price(name, rows, model="graduated", per="period", **during(name))
        return made

    events = [event(f"e{number}", str(size), occurred_at=at) for number, (at, size) in enumerate(usage)]
    whole, parts = Desk(world().terms()), Desk(world().terms())
    whole.rate(*events)
    for one in data.draw(st.permutations(events)):
        parts.rate(one)
    assert whole.total() == parts.total()
    parts.rate(*(event(f"r{number}", {}, retracts=f"e{number}", occurred_at=at) for number, (at, _) in enumerate(usage)))
    assert parts.reasons == []
    assert parts.total() == 0


def test_a_night_over_the_change_of_clocks_is_as_long_as_it_was() -> None:
    night: list[Window] = [("night", "22:00", "06:00", ALL_DAYS, None)]
    world = split_world(night, "Europe/Berlin", lasts="hour").price("night", **during("night")).price("day", **during("rest"))
    desk = Desk(world.terms())
    desk.rate(event("autumn", "24", occurred_at=instant("2026-10-24T12:00:00+02:00")))
    desk.rate(event("spring", "24", occurred_at=instant("2026-03-28T12:00:00+01:00")))
    hours = desk.postings.select("event_id", "price_id", "quantity_quanta").rows()
    assert hours == [("autumn", "day", 15), ("autumn", "night", 9), ("spring", "day", 17), ("spring", "night", 7)]


def test_a_calendar_with_a_zone_of_its_own_ignores_that_of_the_account() -> None:
    world = World().meter().account(zone="Asia/Shanghai").subscription().calendar(PEAK, zone="Europe/London")
    world.price("peak", **during("peak", split=False)).price("off", **during("rest", split=False))
    desk = Desk(world.terms())
    desk.rate(event("a", occurred_at=instant("2026-10-15T09:00:00+01:00")))
    assert desk.postings["price_id"].to_list() == ["peak"]


def test_a_part_that_nobody_charges_rejects_the_event_and_an_empty_part_makes_no_row() -> None:
    world = split_world(PEAK).price("peak", **during("peak"))
    desk = Desk(world.terms())
    desk.rate(event("inside", "60", occurred_at=instant("2026-10-15T19:59:00")))
    desk.rate(event("across", "61", occurred_at=instant("2026-10-15T19:59:00")))
    desk.rate(event("outside", "60", occurred_at=instant("2026-10-15T20:00:00")))
    assert desk.postings["event_id"].to_list() == ["inside"]
    assert desk.reasons == ["no_price", "no_price"]
    assert "a window of its calendar has none" in desk.results[1].rejects["detail"][0]


@pytest.mark.parametrize(
    ("other", "charged"),
    [
        ({}, {"peak": 1, "other": 61}),  # a surcharge beside a price of the whole
        (during("rest"), {"peak": 1, "other": 60}),
        (during("rest", "peak"), {"peak": 1, "other": 61}),  # everything, and peak twice
        (during("peak", split=False), None),  # it began before the peak
        (during("rest", split=False), {"peak": 1, "other": 61}),
    ],
)
def test_parts_may_be_left_out_only_where_something_charges_them(other: dict[str, Any], charged: dict[str, int] | None) -> None:
    desk = Desk(split_world(PEAK).price("peak", **during("peak")).price("other", **other).terms())
    desk.rate(event("e", "61", occurred_at=instant("2026-10-15T07:59:00")))
    if charged is None:
        assert desk.reasons == ["no_price"]
    else:
        assert dict(desk.postings.select("price_id", "quantity_quanta").rows()) == charged


def test_a_filter_may_leave_a_part_without_a_price() -> None:
    world = split_world(PEAK).price("peak", **during("peak")).price("off", **during("rest")).filter("off", "region", "cn")
    world.meters[0]["dimensions"] = ["region"]
    desk = Desk(world.terms())
    at = instant("2026-10-15T07:59:00")
    desk.rate(event("cn", {"value": "61", "region": "cn"}, occurred_at=at), event("us", {"value": "61"}, occurred_at=at))
    assert desk.postings["event_id"].unique().to_list() == ["cn"]
    assert desk.reasons == ["no_price"]


def test_a_year_whose_holidays_are_not_known_is_not_guessed() -> None:
    workdays: list[Window] = [("work", "08:00", "20:00", "mon tue wed thu fri", "exclude")]
    world = World().meter().account().subscription().calendar(workdays, years=["2026"]).days("holiday", "2026-10-01")
    world.price("work", **during("work", split=False)).price("rest", **during("rest", split=False))
    desk = Desk(world.terms())
    times = ["2026-10-01T09:00:00", "2026-10-02T09:00:00", "2026-12-31T23:59:59", "2027-01-01T00:00:00"]
    desk.rate(*(event(at, occurred_at=instant(at)) for at in times))
    assert desk.postings["price_id"].to_list() == ["rest", "work", "rest"]
    assert desk.reasons == ["no_price"]


def test_an_event_that_would_be_split_lasts_at_most_31_days() -> None:
    desk = Desk(split_world(PEAK, lasts="hour").price("peak", **during("peak")).price("off", **during("rest")).terms())
    desk.rate(event("month", "744", occurred_at=instant("2026-10-01")))
    assert desk.postings["quantity_quanta"].sum() == 744
    desk.rate(event("longer", "745", occurred_at=instant("2026-10-01")))
    assert desk.reasons == ["quantity_too_large"]


def test_the_least_of_a_call_and_its_fee_are_due_in_the_window_in_which_it_begins() -> None:
    world = split_world(PEAK)
    more: dict[str, Any] = {"model": "matrix", "per": "event", "by": ["to"], "match": "value", "minimum_units": Decimal(60)}
    for name, rate, fee in (("peak", "3", "5"), ("rest", "1", "2")):
        rows = [tiers((None, rate, fee))[0] | {"package_size": Decimal(6), "per_units": Decimal(1)}]
        world.price(name, rows, **more, **during(name))
    world.meters[0]["dimensions"] = ["to"]
    desk = Desk(world.terms())
    desk.rate(event("e", "70", occurred_at=instant("2026-10-15T07:59:30")))
    found = desk.postings.select("price_id", "quantity_quanta", "amount").rows()
    assert found == [("peak", 10, Decimal(36)), ("rest", 60, Decimal(62))]  # 12 seconds begun x 3; 60 x 1 and the fee


def test_a_call_is_the_same_event_when_it_comes_again_and_is_undone_part_by_part() -> None:
    world = (
        split_world(PEAK)
        .price("peak", tiers((None, "3")), **during("peak"))
        .price("off", **during("rest"))
        .share("peak", "0.5")
    )
    world.accounts[0]["partner_id"] = "agent"
    call = event("e", "90", occurred_at=instant("2026-10-15T07:59:30"))
    desk = Desk(world.terms())
    desk.rate(call)
    assert desk.rate(call).duplicates == 1
    desk.rate(event("e", "91", occurred_at=instant("2026-10-15T07:59:30")))
    assert desk.reasons == ["duplicate_differs"]
    assert desk.total("share") == 90
    desk.rate(event("back", {}, retracts="e"))
    assert desk.total() == desk.total("share") == 0
    back = desk.postings.filter(event_id="back", role="revenue").select("price_id", "windows", "quantity_quanta").rows()
    assert back == [("off", "rest", -30), ("peak", "peak", -60)]


def test_the_settings_of_a_clock_are_found_to_the_second() -> None:
    found = clock_settings("Europe/Berlin", date(2026, 1, 1), date(2026, 12, 31))
    assert found == [instant("2026-03-29T01:00:00"), instant("2026-10-25T01:00:00")]
    assert clock_settings("Asia/Shanghai", date(2026, 1, 1), date(2026, 12, 31)) == []


def test_changes_that_were_worked_out_serve_later_questions() -> None:
    calendar = compile_calendars(World().calendar(PEAK).book())["clock"]
    early, late = instant("2026-10-15"), instant("2026-12-15")
    first = calendar.changes("Europe/Berlin", late, late)
    assert calendar.changes("Europe/Berlin", late, late) is first
    wider = calendar.changes("Europe/Berlin", early, early)
    assert wider["at"].min() < early  # type: ignore[operator]
    assert first.filter(pl.col("at") > late).join(wider, on=["at", "window"], how="anti").is_empty()
