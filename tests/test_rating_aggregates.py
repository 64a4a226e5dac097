"""Aggregates that look at all their events: the same total for every order of arrival and every cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.aggregates.kinds import KEPT, NEGATIVE
from rating.aggregates.moves import SPANS
from rating.aggregates.points import Points
from rating.aggregates.windows import day_begins
from rating.terms import Terms
from schemas.ledger import AGGREGATE_KEY, POINT_COLUMNS
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, instant, one_price, tiers

ZONE = "Asia/Kolkata"
BEGIN = datetime(2026, 10, 1, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
END = datetime(2026, 11, 1, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)

Point = tuple[datetime, str, int]
"""When, id, quantity: what the plain rules below are told."""


def window_sums(points: Sequence[Point], form: str) -> int:
    highest: dict[str, int] = {}
    for at, _, quantity in points:
        window = at.astimezone(ZoneInfo(ZONE)).strftime(form)
        highest[window] = max(highest.get(window, 0), quantity)
    return sum(highest.values())


def level_seconds(points: Sequence[Point]) -> int:
    ordered = sorted(points)
    if not ordered:
        return 0
    ends = [at for at, _, _ in ordered[1:]] + [END]
    return sum(level * int((end - at).total_seconds()) for (at, _, level), end in zip(ordered, ends, strict=True))


def divided(total: int, seconds: int) -> int:
    return int((Decimal(total) / seconds).quantize(Decimal(1), ROUND_HALF_UP))


def changed_seconds(points: Sequence[Point]) -> int:
    """Of a level that changes by so much at each point."""
    ordered = sorted(points)
    levels = [sum(n for _, _, n in ordered[: place + 1]) for place in range(len(ordered))]
    return max(level_seconds([(at, name, level) for (at, name, _), level in zip(ordered, levels, strict=True)]), 0)


def most_at_once(points: Sequence[Point]) -> int:
    counts = [sum(n for at, _, n in points if at <= moment) for moment in {at for at, _, _ in points}]
    return max([0, *counts]) - min([0, *counts])


RULES: dict[str, Callable[[Sequence[Point]], int]] = {
    "sum": lambda points: sum(quantity for _, _, quantity in points),
    "count": len,
    "max": lambda points: max((quantity for _, _, quantity in points), default=0),
    "min": lambda points: min((quantity for _, _, quantity in points), default=0),
    "unique": lambda points: len({quantity for _, _, quantity in points}),
    "latest": lambda points: max(points)[2] if points else 0,
    "hourly_max": lambda points: window_sums(points, "%d %H"),
    "daily_max": lambda points: window_sums(points, "%d"),
    "unit_seconds": level_seconds,
    "unit_hours": lambda points: divided(level_seconds(points), 3600),
    "unit_days": lambda points: divided(level_seconds(points), 86_400),
    "time_average": lambda points: divided(level_seconds(points), int((END - BEGIN).total_seconds())),
    "seconds_of_changes": changed_seconds,
    "hours_of_changes": lambda points: divided(changed_seconds(points), 3600),
    "days_of_changes": lambda points: divided(changed_seconds(points), 86_400),
    "average_of_changes": lambda points: divided(changed_seconds(points), int((END - BEGIN).total_seconds())),
    "peak": most_at_once,
}
"""What each aggregation is, in plain words of Python."""

TIERS = tiers(("10", "0.3", "2"), ("1000", "0.1"), (None, "0.07", "5"))


def world(aggregation: str, scale: int = 0) -> World:
    made = World().meter(aggregation=aggregation, quantity_scale=scale).price("usage", TIERS, model="volume")
    return made.account(zone=ZONE, partner_id="agent").subscription().share("usage", "0.2")


@cache
def terms_of(aggregation: str) -> Terms:
    return world(aggregation).terms()


def as_event(point: Point) -> Row:
    at, name, quantity = point
    return event(name, str(quantity), occurred_at=at)


def price_of(aggregation: str, points: Sequence[Point]) -> Decimal:
    """What one event costs that brings the whole total at once."""
    desk = Desk(terms_of("sum"))
    desk.rate(event("whole", str(RULES[aggregation](points)), occurred_at=BEGIN))
    return desk.total()


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[str, list[list[Point]]]:
    """An aggregation, and the points of a period in some order of arrival, cut into batches."""
    aggregation = draw(st.sampled_from(sorted(RULES)))
    lowest = -4 if aggregation in NEGATIVE else 0
    moment = st.integers(0, 60) | st.integers(0, 31 * 1440 - 1)
    rows = draw(st.lists(st.tuples(moment, st.integers(lowest, 6)), min_size=1, max_size=24))
    points = [(BEGIN + timedelta(minutes=minutes), f"e{place}", n) for place, (minutes, n) in enumerate(rows)]
    points = draw(st.permutations(points))
    cuts = sorted(draw(st.sets(st.integers(1, len(points)), max_size=3)) | {0, len(points)})
    return aggregation, [points[start:end] for start, end in pairwise(cuts)]


@examples(20)
@given(arrivals())
def test_a_period_costs_what_the_plain_rule_says_for_every_order_and_cut(case: tuple[str, list[list[Point]]]) -> None:
    aggregation, batches = case
    desk = Desk(terms_of(aggregation))
    seen: list[Point] = []
    for batch in batches:
        rows = desk.rate(*map(as_event, batch)).postings.filter(role="revenue")
        for number, point in enumerate(batch):
            seen.append(point)
            assert rows["after_quanta"][number] == RULES[aggregation](seen)
    rows = desk.postings.filter(role="revenue")
    assert (rows["after_quanta"] - rows["before_quanta"]).sum() == RULES[aggregation](seen)
    assert desk.total() == price_of(aggregation, seen)
    assert desk.total("share") == desk.total() * Decimal("0.2")


@examples(15)
@given(arrivals())
def test_points_are_rebuilt_from_the_rows_of_the_ledger(case: tuple[str, list[list[Point]]]) -> None:
    aggregation, batches = case
    desk = Desk(terms_of(aggregation))
    for batch in batches:
        desk.rate(*map(as_event, batch))
        rows = desk.postings.filter(role="revenue").sample(fraction=1, shuffle=True, seed=1)
        if aggregation in KEPT:
            desk.points = Points()
            desk.points.load(rows.select(POINT_COLUMNS))
    rows = desk.postings.filter(role="revenue")
    assert (rows["after_quanta"] - rows["before_quanta"]).sum() == RULES[aggregation]([p for batch in batches for p in batch])


def levels(*rows: tuple[str, str]) -> list[Row]:
    return [event(f"{at} {level}", level, occurred_at=instant(f"2026-10-{at}+05:30")) for at, level in rows]


def after(aggregation: str, events: list[Row], scale: int = 0) -> list[int]:
    desk = Desk(world(aggregation, scale).terms())
    desk.rate(*events)
    assert desk.reasons == []
    found: list[int] = desk.postings.filter(role="revenue")["after_quanta"].to_list()
    return found


def test_the_last_level_counts_until_the_period_ends() -> None:
    assert after("unit_hours", levels(("31T22:00", "3"))) == [6]
    assert after("unit_hours", levels(("31T22:00", "3"), ("31T23:00", "10"))) == [6, 13]
    assert after("unit_hours", levels(("31T23:00", "10"), ("31T22:00", "3"))) == [10, 13]


def test_level_seconds_are_divided_once_and_not_stretch_by_stretch() -> None:
    every_minute = levels(*((f"31T23:{minute:02d}", "1") for minute in range(60)))
    assert after("unit_hours", every_minute)[-1] == 1
    assert after("unit_hours", levels(("31T23:59:59.900", "1000"), ("31T23:59:59.100", "3600000")), scale=6)[-1] == 277_778


def test_of_two_levels_at_one_moment_the_higher_id_counts_whichever_came_first() -> None:
    both = [event(name, level, occurred_at=instant("2026-10-05")) for name, level in (("a", "5"), ("b", "7"))]
    assert after("latest", both)[-1] == after("latest", both[::-1])[-1] == 7


def test_who_leaves_does_not_meet_who_joins_at_the_same_moment() -> None:
    assert after("peak", levels(("05T10:00", "2"), ("05T11:00", "3"), ("05T11:00", "-2")))[-1] == 3


def test_who_leaves_without_having_joined_was_there_from_the_start() -> None:
    assert after("peak", levels(("05T10:00", "1"), ("05T12:00", "-3")))[-1] == 3


def test_an_hour_begins_at_the_full_hour_of_the_accounts_clock() -> None:
    assert after("hourly_max", levels(("05T10:01", "2"), ("05T10:59", "3"), ("05T11:00", "4"))) == [2, 3, 7]
    assert after("daily_max", levels(("05T00:00", "2"), ("05T23:59", "3"), ("06T00:00", "4"))) == [2, 3, 7]


def test_a_day_without_midnight_begins_at_one_and_a_doubled_midnight_at_the_first() -> None:
    days = [
        ("Africa/Cairo", datetime(2026, 4, 24)),
        ("America/Havana", datetime(2026, 11, 1)),
        ("Asia/Shanghai", datetime(2026, 5, 1)),
    ]
    rows = [{"key": 0, "zone": zone, "usage_period": day.date(), "usage_period_end": day.date()} for zone, day in days]
    begins = [datetime.fromtimestamp(second, UTC).isoformat() for second in day_begins(SPANS.build(rows), "usage_period")]
    assert begins == ["2026-04-23T22:00:00+00:00", "2026-11-01T04:00:00+00:00", "2026-04-30T16:00:00+00:00"]


def test_unique_counts_texts_of_any_length_once() -> None:
    long = "x" * 300
    desk = Desk(world("unique").terms())
    desk.rate(
        event("a", "anna"), event("b", "bert"), event("c", "anna"), event("d", long), event("e", long), event("f", long + "y")
    )
    rows = desk.postings.filter(role="revenue")
    assert rows["after_quanta"].to_list() == [1, 2, 2, 3, 3, 4]
    assert rows["value"].str.len_chars().to_list() == [4, 4, 4, 64, 64, 64]
    desk.rate(event("g", {"other": "x"}))
    assert desk.reasons == ["missing_field"]


def test_the_same_id_with_another_value_is_another_content() -> None:
    for batches in ([1, 1, 1], [3]):
        desk = Desk(world("unique").terms())
        events = [event("a", "anna"), event("a", "bert"), event("a", "anna")]
        for size in batches:
            desk.rate(*events[:size])
            events = events[size:]
        assert desk.reasons == ["duplicate_differs"]
        assert sum(result.duplicates for result in desk.results) == 1


def test_only_peaks_and_changes_take_quantities_below_zero() -> None:
    for aggregation in RULES:
        desk = Desk(terms_of(aggregation))
        desk.rate(event("a", "-1"))
        wanted = [] if aggregation in {*NEGATIVE, "count", "unique"} else ["negative_quantity"]
        assert desk.reasons == wanted, aggregation
    desk = Desk(world("peak").terms())
    desk.rate(event("a", "--1"), event("b", "-x"))
    assert desk.reasons == ["negative_quantity", "bad_quantity"]


def test_a_total_that_is_too_large_refuses_events_as_if_they_came_one_by_one() -> None:
    dear = one_price(aggregation="daily_max", steps=tiers((None, "1e17"))).terms()
    events = [
        event(f"e{day}", quantity, occurred_at=instant(f"2026-10-{day:02d}"))
        for day, quantity in enumerate(["400", "99", "1", "100", "3", "401"], start=1)
    ]
    together, apart = Desk(dear), Desk(dear)
    together.rate(*events)
    for one in events:
        apart.rate(one)
    assert together.reasons == apart.reasons == ["quantity_too_large"] * 4
    assert together.total() == apart.total() == Decimal(499) * 10**17


def test_points_of_other_meters_are_not_kept() -> None:
    desk = Desk(
        World()
        .meter("n")
        .meter("m", aggregation="max")
        .meter("l", aggregation="latest")
        .account()
        .subscription()
        .price("a", meter_id="n")
        .price("b", meter_id="m")
        .price("c", meter_id="l")
        .terms()
    )
    desk.rate(event("a", "1"), event("b", "2"))
    assert len(desk.points) == 2
    keys = desk.postings.filter(price_id="c").select(AGGREGATE_KEY).unique().with_columns(key=pl.lit(5, pl.Int64))
    assert desk.points.find(keys).select("key", "event_id", "quantity_quanta").sort("event_id").rows() == [
        (5, "a", 1),
        (5, "b", 2),
    ]


@pytest.mark.parametrize("aggregation", sorted(KEPT))
def test_an_aggregate_begins_anew_with_each_period(aggregation: str) -> None:
    desk = Desk(terms_of(aggregation))
    desk.rate(event("a", "5", occurred_at=instant("2026-09-10")), event("b", "5", occurred_at=instant("2026-10-10")))
    assert desk.postings.filter(role="revenue")["before_quanta"].to_list() == [0, 0]
