"""Negotiated prices carved into the list, and what cannot be compiled."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rating.stretches import FAR
from schemas.errors import BrokenPromise
from tests.rating_world import Desk, World, event, instant, one_price, tiers


def in_force(world: World, subscription_id: str = "acme-1") -> list[tuple[str, str, str]]:
    """(version, from, to) of each stretch, in time order; '' is open."""
    rows = world.terms().usage.filter(subscription_id=subscription_id).sort("charged_from")
    return [
        (version, f"{start:%m-%d}", "" if end == FAR else f"{end:%m-%d}")
        for version, start, end in rows.select("price_version", "charged_from", "charged_to").rows()
    ]


def test_a_discount_is_posted_under_a_version_of_its_own() -> None:
    world = one_price().discount("usage", "0.125", valid_from=instant("2026-10-10"), valid_to=instant("2026-10-20"))
    assert in_force(world) == [
        ("2026-01-01", "01-01", "10-10"),
        ("2026-01-01/acme-12.5%", "10-10", "10-20"),
        ("2026-01-01", "10-20", ""),
    ]
    desk = Desk(world.terms())
    desk.rate(event("a", "8"), event("b", "8", occurred_at=instant("2026-10-20")))
    assert desk.postings["amount"].to_list() == [Decimal(7), Decimal(8)]


def test_a_discount_follows_the_list_price_as_it_changes() -> None:
    world = one_price(valid_to=instant("2026-03-01")).discount("usage", "0.5")
    world.price("usage", tiers((None, "3")), price_version="2026-03-01", valid_from=instant("2026-03-01"))
    assert in_force(world) == [("2026-01-01/acme-50%", "01-01", "03-01"), ("2026-03-01/acme-50%", "03-01", "")]


def test_own_terms_replace_the_list_price_and_keep_its_filters() -> None:
    world = World().meter(dimensions=["region"]).price().account().subscription().subscription("acme-2")
    world.filter("usage", "region", "cn")
    world.price("usage", tiers((None, "0.25")), own=True, price_version="2026-02-01/acme")
    world.override("usage", "2026-02-01/acme", valid_from=instant("2026-02-01"))
    assert in_force(world) == [("2026-01-01", "01-01", "02-01"), ("2026-02-01/acme", "02-01", "")]
    desk = Desk(world.terms())
    desk.rate(event("a", {"value": "8", "region": "cn"}), event("b", {"value": "8", "region": "us"}))
    assert desk.postings["amount"].to_list() == [Decimal(2)]
    assert desk.reasons == ["no_price"]


def test_the_subscription_s_price_beats_the_account_s_and_that_beats_the_list() -> None:
    world = one_price().subscription("acme-2").discount("usage", "0.1", valid_from=instant("2026-02-01"))
    world.price("usage", tiers((None, "0.25")), own=True, price_version="own")
    world.override("usage", "own", subscription_id="acme-1", valid_from=instant("2026-03-01"), valid_to=instant("2026-04-01"))
    assert in_force(world) == [
        ("2026-01-01", "01-01", "02-01"),
        ("2026-01-01/acme-10%", "02-01", "03-01"),
        ("own", "03-01", "04-01"),
        ("2026-01-01/acme-10%", "04-01", ""),
    ]
    assert in_force(world, "acme-2") == [("2026-01-01", "01-01", "02-01"), ("2026-01-01/acme-10%", "02-01", "")]


def test_a_subscription_s_discount_names_the_subscription() -> None:
    world = one_price().subscription("acme-2").discount("usage", "0.15", subscription_id="acme-2")
    assert in_force(world)[0][0] == "2026-01-01"
    assert in_force(world, "acme-2")[0][0] == "2026-01-01/acme-2-15%"


def test_own_terms_hold_where_the_list_has_no_price() -> None:
    world = one_price(valid_from=instant("2026-06-01"))
    world.price("usage", tiers((None, "1")), own=True, price_version="own").override("usage", "own")
    assert [version for version, _, _ in in_force(world)] == ["own", "own"]
    desk = Desk(world.terms())
    desk.rate(event("a", occurred_at=instant("2026-05-31")), event("b"))
    assert desk.reasons == []


def test_a_discount_of_nothing_is_the_list_price() -> None:
    assert in_force(one_price().discount("usage", "0")) == [("2026-01-01", "01-01", "")]


def test_an_add_on_counts_only_while_it_is_held() -> None:
    world = one_price().price("addon", plan_id="extra")
    world.subscription(plan_id="extra", active_from=instant("2026-10-10"), active_to=instant("2026-10-20"))
    desk = Desk(world.terms())
    days = ["2026-10-09", "2026-10-10", "2026-10-20"]
    desk.rate(*(event(day, occurred_at=instant(day)) for day in days))
    assert desk.postings.filter(price_id="addon")["event_id"].to_list() == ["2026-10-10"]
    assert desk.postings.filter(price_id="usage").height == 3


@pytest.mark.parametrize(
    ("world", "says"),
    [
        (one_price(steps=tiers((None, "0.0000000000000001")), scale=3), "more than 15 decimals"),
        (one_price("graduated", tiers(("0.5", "1"), (None, "1"))), "finer than the meter's 0 decimals"),
        (one_price("package"), "needs a package size"),
        (one_price("package", tiers((None, "1"), package_size="0")), "a size above zero"),
        (one_price("stairs"), "unknown model 'stairs'"),
        (one_price().discount("usage", "1.5"), "between 0 and 1"),
        (one_price().discount("usage", "0.1234567"), "6 decimals"),
        (one_price().share("usage", "0.1234567"), "at most 6 decimals"),
        (one_price().override("usage", "nowhere"), "has no terms"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_rated_exactly_does_not_compile(world: World, says: str) -> None:
    with pytest.raises(BrokenPromise, match=says):
        world.terms()
