"""Who pays for an event, and why nobody does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.rating_world import Desk, Row, World, event, instant, one_price, tiers


def rejected(desk: Desk, *events: Row) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = desk.rate(*events).rejects.select("reason", "detail").rows()
    return rows


@pytest.mark.parametrize(
    ("offending", "reason", "says"),
    [
        (event("e", event_type="walked"), "unknown_type", "'walked'"),
        (event("e", subject="nobody"), "unknown_subject", "'nobody'"),
        (event("e", occurred_at=instant("1970-01-01")), "not_subscribed", "1970-01-01T00:00:00Z"),
        (event("e", occurred_at=instant("2090-01-01")), "not_subscribed", "2090-01-01T00:00:00Z"),
        (event("e", {"value": None}), "missing_field", "'value'"),
        (event("e", {}), "missing_field", "'value'"),
        (event("e", ""), "bad_quantity", "''"),
        (event("e", "NaN"), "bad_quantity", "'NaN'"),
        (event("e", "1.5"), "bad_quantity", "'1.5'"),
        (event("e", "1e400"), "bad_quantity", "'1e400'"),
        (event("e", "-3"), "negative_quantity", "'-3'"),
        (event("e", "1e30"), "quantity_too_large", "'1e30'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_event_nobody_can_be_charged_for_is_a_reject_that_names_the_value(offending: Row, reason: str, says: str) -> None:
    world = one_price()
    world.subscriptions[0]["active_to"] = instant("2030-01-01")
    desk = Desk(world.terms())
    rated = desk.rate(event("good"), offending)
    assert rated.postings["event_id"].to_list() == ["good"]
    assert rated.rejects.select("event_id", "reason", "stream_offset", "message").rows() == [("e", reason, 1, b"{}")]
    assert rated.rejects.select("book_version", "roster_version").rows() == [(7, 3)]
    assert says in rated.rejects["detail"][0]


def test_a_long_offending_value_is_cut_in_the_sentence() -> None:
    ((_, detail),) = rejected(Desk(one_price().terms()), event("e", "x" * 10_000))
    assert len(detail) < 250


def test_a_subscription_without_a_price_for_the_meter_is_no_price() -> None:
    world = one_price(valid_to=instant("2026-06-01"))
    assert rejected(Desk(world.terms()), event("e"))[0][0] == "no_price"


def test_an_identifier_leads_to_the_subscription_that_held_it_then() -> None:
    world = one_price().subscription("acme-2")
    number: Row = {
        "identifier": "+861",
        "subscription_id": "acme-1",
        "valid_from": instant("2026-01-01"),
        "valid_to": instant("2026-10-10"),
    }
    world.identifiers += [number, number | {"subscription_id": "acme-2", "valid_from": instant("2026-10-10"), "valid_to": None}]
    desk = Desk(world.terms())
    before, after = instant("2026-10-09T23:59:59"), instant("2026-10-10")
    desk.rate(event("a", subject="+861", occurred_at=before), event("b", subject="+861", occurred_at=after), event("c"))
    assert desk.postings["subscription_id"].to_list() == ["acme-1", "acme-2", "acme-1"]
    too_early = event("d", subject="+861", occurred_at=instant("2025-01-01"))
    assert rejected(desk, too_early)[0][0] == "not_subscribed"


def test_the_usage_period_is_the_account_s_own() -> None:
    world = one_price().account("east", zone="Asia/Shanghai", billing_day=15).subscription("east-1", "east")
    desk = Desk(world.terms())
    last, first = instant("2026-10-14T15:59:59.999999"), instant("2026-10-14T16:00:00")
    desk.rate(event("a", subject="east-1", occurred_at=last), event("b", subject="east-1", occurred_at=first))
    desk.rate(event("c", occurred_at=first))
    rows = desk.postings.select("usage_period", "usage_period_end", "usage_month")
    assert [tuple(map(str, row)) for row in rows.rows()] == [
        ("2026-09-15", "2026-10-15", "2026-09"),
        ("2026-10-15", "2026-11-15", "2026-10"),
        ("2026-10-01", "2026-11-01", "2026-10"),
    ]


def test_each_usage_period_counts_from_nothing() -> None:
    desk = Desk(one_price("graduated", tiers(("10", "1"), (None, "0"))).terms())
    months = ["2026-09-30T23:59:59", "2026-10-01", "2026-10-31", "2026-11-01"]
    desk.rate(*(event(f"e{i}", "8", occurred_at=instant(month)) for i, month in enumerate(months)))
    assert desk.postings["amount"].to_list() == [Decimal(8), Decimal(8), Decimal(2), Decimal(8)]


def test_every_price_that_accepts_an_event_charges_it() -> None:
    world = (
        World()
        .meter("minutes", dimensions=["region"])
        .meter("calls", aggregation="count", property=None, dimensions=["region"])
    )
    world.price("minute", tiers((None, "2")), meter_id="minutes").price("call", tiers((None, "10")), meter_id="calls")
    world.price("abroad", tiers((None, "1")), meter_id="minutes").filter("abroad", "region", "cn", excluded=True)
    world.price("home", tiers((None, "0.5")), meter_id="minutes").filter("home", "region", "cn", "hk")
    world.account().subscription()
    desk = Desk(world.terms())
    charged = {}
    for region in ("cn", "us", None):
        rated = desk.rate(event(f"e{region}", {"value": "3", "region": region}))
        charged[region] = dict(rated.postings.select("price_id", "amount").rows())
    always = {"minute": Decimal(6), "call": Decimal(10)}
    assert charged["cn"] == always | {"home": Decimal("1.5")}
    assert charged["us"] == always | {"abroad": Decimal(3)}
    assert charged[None] == always | {"abroad": Decimal(3)}
    assert desk.postings["dimensions"].unique(maintain_order=True).to_list() == ["region=cn", "region=us", ""]


def test_two_filters_must_both_accept() -> None:
    world = World().meter(dimensions=["region", "kind"]).price().account().subscription()
    world.filter("usage", "region", "cn").filter("usage", "kind", "pstn")
    desk = Desk(world.terms())
    accepted = event("a", {"value": "1", "region": "cn", "kind": "pstn"})
    others = [("cn", "voip"), ("us", "pstn"), ("cn", None)]
    refused = [event(f"{kind}-{region}", {"value": "1", "region": region, "kind": kind}) for region, kind in others]
    desk.rate(accepted, *refused)
    assert desk.postings["event_id"].to_list() == ["a"]
    assert desk.reasons == ["no_price"] * 3


def test_a_bad_quantity_matters_only_where_a_price_would_charge_it() -> None:
    world = (
        World().meter("minutes").meter("ports", property="ports").price("minute", meter_id="minutes").account().subscription()
    )
    desk = Desk(world.terms())
    desk.rate(event("a", {"value": "1", "ports": "many"}), event("b", {"value": "many", "ports": "1"}))
    assert desk.postings["event_id"].to_list() == ["a"]
    assert desk.reasons == ["bad_quantity"]


def test_an_event_is_charged_whole_or_not_at_all() -> None:
    world = World().meter("minutes").meter("ports", property="ports").account().subscription()
    world.price("minute", meter_id="minutes").price("port", meter_id="ports")
    desk = Desk(world.terms())
    desk.rate(event("a", {"value": "1", "ports": "many"}))
    assert desk.postings.is_empty()
    assert desk.reasons == ["bad_quantity"]


def test_the_price_in_force_when_it_happened_counts_on_its_own() -> None:
    half = instant("2026-10-15T12:00:00")
    world = one_price("graduated", tiers(("10", "1"), (None, "0")), valid_to=half)
    world.price("usage", tiers(("10", "2"), (None, "0")), model="graduated", price_version="2026-10-15", valid_from=half)
    desk = Desk(world.terms())
    desk.rate(event("a", "8", occurred_at=instant("2026-10-15T11:59:59")), event("b", "8", occurred_at=half))
    desk.rate(event("late", "8", occurred_at=instant("2026-10-01")), event("c", "8", occurred_at=instant("2026-10-16")))
    rows = desk.postings.select("price_version", "before_quanta", "after_quanta", "amount").rows()
    assert rows == [
        ("2026-01-01", 0, 8, Decimal(8)),
        ("2026-10-15", 0, 8, Decimal(16)),
        ("2026-01-01", 8, 16, Decimal(2)),
        ("2026-10-15", 8, 16, Decimal(4)),
    ]
