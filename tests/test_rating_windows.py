"""Prices that begin anew each hour or day of the account's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipelines.replay import replay_posted
from pipelines.rerate import rerate
from tests.corrections_world import OCTOBER, Shop, retraction, usage
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, instant, one_price, tiers


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_an_allowance_of_a_day_does_not_carry_over() -> None:
    desk = Desk(one_price(steps=tiers((None, "2")), within="day", included_units=Decimal(10)).terms())
    for day, quantity in enumerate(["15", "3", "12"], start=10):
        desk.rate(event(f"d{day}", quantity, occurred_at=instant(f"2026-10-{day}")))
    desk.rate(event("late", "8", occurred_at=instant("2026-10-11T23:59")))
    assert desk.postings["amount"].to_list() == [10, 0, 4, 2]
    assert desk.postings["counted_for"].to_list() == [f"acme-1/2026-10-{day}" for day in (10, 11, 12, 11)]
    assert desk.postings["usage_period"].n_unique() == 1


def test_the_largest_of_each_hour_is_priced_alone() -> None:
    desk = Desk(one_price("volume", tiers(("10", "10"), (None, "5")), aggregation="max", within="hour").terms())
    for number, (hour, quantity) in enumerate([("09:00", "9"), ("09:59", "4"), ("10:00", "15"), ("10:30", "7")]):
        desk.rate(event(f"e{number}", quantity, occurred_at=instant(f"2026-10-15T{hour}")))
    assert desk.total() == 90 + 75


def test_days_are_those_of_the_accounts_clock_and_the_repeated_hour_of_autumn_is_two() -> None:
    world = World().meter().price("usage", tiers((None, "1")), within="hour", cap=Decimal(5))
    desk = Desk(world.account(zone="Europe/Berlin").subscription().terms())
    hours = ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T02:45+02:00"]
    for number, hour in enumerate(hours):
        desk.rate(event(f"e{number}", "4", occurred_at=at(hour)))
    assert desk.postings["counted_for"].to_list() == [f"acme-1/2026-10-25T02+0{offset}00" for offset in (2, 1, 2)]
    assert desk.total() == 5 + 4


def test_windows_of_an_account_add_up_over_its_subscriptions() -> None:
    world = World().meter().price("usage", tiers((None, "1")), within="day", counted_over="account", cap=Decimal(5))
    desk = Desk(world.account().subscription("acme-1").subscription("acme-2").terms())
    desk.rate(event("a", "4"), event("b", "4", subject="acme-2"), event("c", "4", occurred_at=instant("2026-10-16")))
    assert desk.total() == 5 + 4
    assert desk.postings["counted_for"].to_list()[0] == "account:acme/2026-10-15"


def test_prices_without_windows_beside_one_count_as_ever() -> None:
    world = one_price(steps=tiers((None, "1")), within="day", cap=Decimal(5)).price("plain", tiers((None, "1")))
    desk = Desk(world.terms())
    desk.rate(event("a", "4"), event("b", "4"))
    assert desk.total(price_id="usage") == 5
    assert desk.total(price_id="plain") == 8
    assert set(desk.postings.filter(price_id="plain")["counted_for"]) == {"acme-1"}


def charged(quantity: int) -> int:
    """Tiers of 10 at 3 and the rest at 1, after 2 that are free, and at most 40."""
    left = max(quantity - 2, 0)
    return min(min(left, 10) * 3 + max(left - 10, 0), 40)


@examples(12)
@given(
    used=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 25), st.booleans()), min_size=1, max_size=25),
    within=st.sampled_from(["hour", "day"]),
    zone=st.sampled_from(["UTC", "Asia/Kathmandu", "America/Sao_Paulo"]),
    cut=st.integers(1, 8),
    order=st.randoms(use_true_random=False),
)
def test_a_period_costs_the_sum_of_its_windows_for_every_cut_order_and_retraction(
    used: list[tuple[int, int, bool]], within: str, zone: str, cut: int, order: Random
) -> None:
    """Quantities at a number of half hours after noon; those with True are taken back later."""
    world = (
        World()
        .meter()
        .price(
            "usage",
            tiers(("10", "3"), (None, "1")),
            model="graduated",
            within=within,
            included_units=Decimal(2),
            cap=Decimal(40),
        )
    )
    desk = Desk(world.account(zone=zone).subscription().terms())
    rows: list[Row] = []
    windows: dict[object, int] = {}
    for number, (half_hours, quantity, back) in enumerate(used):
        moment = at("2026-10-14T12:10+00:00").timestamp() + half_hours * 1800
        happened = datetime.fromtimestamp(moment, UTC)
        rows.append(event(f"e{number}", str(quantity), occurred_at=happened))
        local = happened.astimezone(ZoneInfo(zone))
        window = (local.date(), local.hour) if within == "hour" else local.date()
        windows[window] = windows.get(window, 0) + (0 if back else quantity)
    order.shuffle(rows)
    backs = [event(f"b{n}", "0", retracts=f"e{n}") for n, (_, _, back) in enumerate(used) if back]
    rows += backs
    for start in range(0, len(rows), cut):
        desk.rate(*rows[start : start + cut])
    assert desk.reasons == []
    assert desk.total() == sum(map(charged, windows.values()))


TERMS = "            model: graduated\n            tiers:\n              - {up_to: 10000, unit_price: 0.05}\n"


def daily(root: Path) -> Shop:
    """The template's company, with minutes in tiers of each day."""
    shop = Shop(root, publish=False)
    plans = root / "catalog" / "plans.yaml"
    text = plans.read_text(encoding="utf-8")
    plans.write_text(
        text.replace(TERMS, TERMS.replace("10000", "100").replace("tiers:", "within: day\n            tiers:", 1), 1)
    )
    shop.workspace.publish()
    return shop


def test_days_hold_in_the_ledger_through_retraction_replay_billing_and_the_check(tmp_path: Path) -> None:
    shop = daily(tmp_path / "shop")
    values = usage(500)
    shop.rate(values)
    shop.rate([retraction(value, f"back-{number}") for number, value in enumerate(values[:40])])
    rows = shop.postings().filter(price_id="pro.month.minutes", role="revenue")
    windowed = rows.filter(pl.col("counted_for").str.contains("/2026-10-"))
    assert windowed["counted_for"].n_unique() > 20
    assert (windowed["corrects"].is_not_null()).any()
    assert replay_posted(shop.workspace, OCTOBER).agrees
    shop.bill(OCTOBER)
    assert shop.disagreeing() == []


def test_a_price_published_late_moves_usage_from_the_month_into_days(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    values = usage(300)
    shop.rate(values)
    plans = shop.workspace.root / "catalog" / "plans.yaml"
    text = plans.read_text(encoding="utf-8")
    version = "          - valid_from: 2026-10-01\n" + TERMS.replace("10000", "100").replace(
        "tiers:", "within: day\n            tiers:", 1
    )
    place = text.index(TERMS)
    end = text.index("      - id:", place)
    rest = "              - {unit_price: 0.04}\n"
    plans.write_text(text[:end].rstrip("\n") + "\n" + version + rest + text[end:], encoding="utf-8")
    shop.workspace.publish()
    rerate(shop.workspace, "pro.month.minutes", OCTOBER.first_day, OCTOBER.next().first_day, post=True)
    assert replay_posted(shop.workspace, OCTOBER).agrees
    days = shop.postings().filter(price_version="2026-10-01", role="revenue")
    assert days["counted_for"].str.contains("/2026-10-").all()
    assert shop.disagreeing() == []
