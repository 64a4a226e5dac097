"""Fees without an event: in advance, prorated by day, corrected by what was posted before."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.recurring import monthly_fees, post_fees
from rating.zero_usage import post_zero_usage
from schemas.errors import BrokenPromise
from schemas.ledger import AGGREGATE_KEY, POSTINGS
from schemas.period import Period
from tests.examples import examples
from tests.rating_world import Desk, World, event, instant, one_price, tiers

OCTOBER = Period(2026, 10)
NOTHING = POSTINGS.empty()


def fees(fee: str = "31", interval: str = "month", **subscription: object) -> World:
    world = World().price("fee", tiers((None, fee)), charge="recurring", model="flat", interval=interval, meter_id=None)
    return world.account(partner_id="agent").subscription(**subscription)  # type: ignore[arg-type]


def posted(world: World, period: Period = OCTOBER, before: pl.DataFrame = NOTHING, starts: Period = OCTOBER) -> pl.DataFrame:
    return post_fees(period, world.terms(), before, starts)


def total(rows: pl.DataFrame) -> Decimal:
    return sum(rows["amount"].to_list(), Decimal(0))


def lines(rows: pl.DataFrame) -> list[tuple[str, str, int, Decimal]]:
    told = rows.filter(role="revenue").select("usage_period", "usage_period_end", "quantity_quanta", "amount").rows()
    return [(f"{start:%y-%m-%d}", f"{end:%y-%m-%d}", days, amount) for start, end, days, amount in told]


def test_a_month_is_due_with_the_one_that_follows_it_in_advance() -> None:
    rows = posted(fees(licences=2))
    assert lines(rows) == [("26-10-01", "26-11-01", 62, Decimal(62)), ("26-11-01", "26-12-01", 60, Decimal(62))]
    assert rows.select("stream", "stream_partition", "stream_offset", "stream_row", "charge").rows() == [
        ("run:2026-10", 0, 0, 0, "recurring"),
        ("run:2026-10", 0, 1, 0, "recurring"),
    ]


def test_a_second_run_posts_nothing_and_the_next_month_only_what_is_new() -> None:
    world = fees()
    first = posted(world)
    assert posted(world, before=first).is_empty()
    assert lines(posted(world, OCTOBER.next(), first)) == [("26-12-01", "27-01-01", 31, Decimal(31))]


def test_a_subscription_is_charged_for_the_days_it_is_held() -> None:
    world = fees(active_from=instant("2026-10-22"), active_to=instant("2026-11-04"))
    assert lines(posted(world)) == [("26-10-01", "26-11-01", 10, Decimal(10)), ("26-11-01", "26-12-01", 3, Decimal("3.1"))]


def test_an_early_end_gives_back_by_itself() -> None:
    first = posted(fees())
    ended = fees(active_to=instant("2026-11-16"))
    back = posted(ended, OCTOBER.next(), first)
    assert lines(back) == [("26-11-01", "26-12-01", -15, Decimal("-15.5"))]
    assert back.select("before_quanta", "after_quanta").rows() == [(30, 15)]
    assert posted(ended, OCTOBER.next(), pl.concat([first, back])).is_empty()


def test_a_subscription_that_left_the_roster_is_given_back_whole() -> None:
    first = posted(fees())
    gone = fees(subscription_id="other")
    assert total(posted(gone, before=first).filter(subscription_id="acme-1")) == Decimal(-62)


def test_service_periods_begin_on_the_billing_day_in_the_account_s_zone() -> None:
    world = fees(active_from=instant("2026-10-10T16:00:00"))
    world.accounts[0] |= {"zone": "Asia/Shanghai", "billing_day": 5}
    assert lines(posted(world)) == [("26-10-05", "26-11-05", 25, Decimal(25)), ("26-11-05", "26-12-05", 30, Decimal(31))]


def test_a_year_begins_on_the_anniversary_and_is_due_once() -> None:
    world = fees("365", "year", active_from=instant("2025-11-01"))
    assert lines(posted(world)) == [("26-11-01", "27-11-01", 365, Decimal(365))]
    assert posted(world, OCTOBER.next(), posted(world)).is_empty()
    late = fees("365", "year", active_from=instant("2025-11-02"))
    assert posted(late).is_empty()
    assert lines(posted(late, OCTOBER.next())) == [("26-11-02", "27-11-02", 365, Decimal(365))]


def test_a_year_from_the_29th_of_february_begins_on_the_28th() -> None:
    world = fees("365", "year", active_from=instant("2024-02-29"))
    february = Period(2027, 2)
    assert lines(posted(world, february, starts=february)) == [("27-02-28", "28-02-29", 366, Decimal(365))]


def test_fees_before_the_start_were_billed_elsewhere() -> None:
    assert [start for start, *_ in lines(posted(fees(), starts=Period(2026, 8)))] == [
        "26-08-01",
        "26-09-01",
        "26-10-01",
        "26-11-01",
    ]
    assert lines(posted(fees(), Period(2026, 8))) == []


def test_a_price_that_changes_within_the_month_splits_it_by_day() -> None:
    world = fees()
    world.prices[0]["valid_to"] = instant("2026-10-11")
    more = {"charge": "recurring", "model": "flat", "interval": "month", "meter_id": None}
    world.price("fee", tiers((None, "62")), own=False, price_version="new", valid_from=instant("2026-10-11"), **more)
    rows = posted(world).filter(usage_month="2026-10").select("price_version", "quantity_quanta", "amount").rows()
    assert rows == [("2026-01-01", 10, Decimal(10)), ("new", 21, Decimal(42))]


def test_a_discount_and_a_share_apply_to_fees_too() -> None:
    world = fees("100").discount("fee", "0.1").share("fee", "0.333333")
    rows = posted(world).filter(usage_month="2026-10").select("role", "partner_id", "price_version", "amount").rows()
    assert rows == [
        ("revenue", None, "2026-01-01/acme-10%", Decimal(90)),
        ("share", "agent", "2026-01-01/acme-10%", Decimal("29.99997")),
    ]


@examples(15)
@given(st.decimals(0, 1000, places=18), st.integers(1, 30), st.integers(1, 99))
def test_a_month_cut_at_any_day_costs_what_its_parts_cost(fee: Decimal, day: int, licences: int) -> None:
    whole = posted(fees(str(fee), licences=licences))
    ended = posted(fees(str(fee), licences=licences, active_to=instant(f"2026-10-{day + 1:02}")), before=whole)
    both = pl.concat([whole, ended]).filter(usage_month="2026-10")
    assert both["quantity_quanta"].sum() == licences * day
    exact = fee * licences * day / 31
    assert abs(total(both) - exact) <= Decimal("1e-18") / 2 + Decimal("1e-20")


def test_a_fee_beyond_exact_money_stops_the_run() -> None:
    with pytest.raises(BrokenPromise, match="fee of subscription acme-1"):
        posted(fees("1e19", licences=100))


def test_the_monthly_worth_of_fees_follows_discounts_and_terms() -> None:
    world = fees("120", "year", licences=3, active_to=instant("2027-01-01")).discount(
        "fee", "0.1", valid_from=instant("2026-07-01")
    )
    rows = monthly_fees(world.terms()).select("monthly_fee", "fee_from", "fee_to").rows()
    assert [(fee, str(start), str(end)) for fee, start, end in rows] == [
        (Decimal(30), "2026-01-01", "2026-07-01"),
        (Decimal(27), "2026-07-01", "2027-01-01"),
    ]
    assert monthly_fees(fees().terms()).select("monthly_fee", "fee_to").rows() == [(Decimal(31), None)]


def used(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(AGGREGATE_KEY).unique()


def test_a_fee_due_at_zero_usage_is_posted_by_the_run_where_no_usage_came() -> None:
    world = one_price("graduated", tiers((None, "1", "10")), flat_at_zero=True).share("usage", "0.5").subscription("acme-2")
    world.subscription("gone", active_to=instant("2026-10-01")).discount("usage", "0.1", subscription_id="acme-2")
    terms = world.terms()
    desk = Desk(terms)
    usage = desk.rate(event("a", "0")).postings
    rows = post_zero_usage(OCTOBER, terms, used(usage), NOTHING, first_offset=7)
    told = rows.select("subscription_id", "role", "amount", "quantity_quanta", "stream_offset", "charge", "meter_id").rows()
    assert told == [
        ("acme-2", "revenue", Decimal(9), 0, 7, "usage", "usage"),
        ("acme-2", "share", Decimal("4.5"), 0, 8, "usage", "usage"),
    ]
    assert post_zero_usage(OCTOBER, terms, used(usage), rows).is_empty()


def test_usage_that_comes_late_takes_the_zero_fee_back() -> None:
    terms = one_price("graduated", tiers((None, "1", "10")), flat_at_zero=True).terms()
    first = post_zero_usage(OCTOBER, terms, used(NOTHING), NOTHING)
    desk = Desk(terms)
    desk.rate(event("late", "5"))
    second = post_zero_usage(OCTOBER.next(), terms, used(desk.postings), first)
    assert second.select("usage_month", "amount").rows() == [("2026-10", Decimal(-10)), ("2026-11", Decimal(10))]
    assert desk.total() + total(first) + total(second.filter(usage_month="2026-10")) == Decimal(15)
    both = pl.concat([first, second])
    assert post_zero_usage(OCTOBER.next(), terms, used(desk.postings), both).is_empty()
