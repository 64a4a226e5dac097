"""What subscriptions are charged is compiled a part of the roster at a time; nobody can tell."""

from __future__ import annotations

import polars as pl
import pytest

import rating.charges
from tests.rating_world import World, instant, tiers


def negotiated() -> World:
    """Seven subscriptions of three accounts, with a plan price and a group's, own terms, discounts and a licence fee."""
    world = World().meter().price().account().account("bay", parent_id="acme").account("cove")
    world.price("shared", tiers(("10", "2"), (None, "1")), counted_over="group")
    world.price("licence", tiers((None, "5")), charge="recurring", meter_id=None, interval="month")
    for number in range(7):
        world.subscription(f"s{number}", account_id=("acme", "bay", "cove")[number % 3])
    world.discount("usage", "0.125", valid_from=instant("2026-10-10"))
    world.price("usage", tiers((None, "0.25")), own=True, price_version="own")
    return world.override("usage", "own", subscription_id="s2", valid_from=instant("2026-03-01"))


@pytest.mark.parametrize("at_once", [1, 2, 3, 6])
def test_charges_are_the_same_however_many_subscriptions_are_compiled_at_a_time(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = negotiated().terms()
    monkeypatch.setattr(rating.charges, "HOLDERS_AT_ONCE", at_once)
    parts = negotiated().terms()
    assert whole.usage.height > 14
    assert whole.usage["counted_for"].n_unique() > 7
    assert parts.usage.equals(whole.usage)
    assert parts.recurring.equals(whole.recurring)
    assert whole.recurring.height == 7


def test_equal_aggregates_have_one_number_and_others_another() -> None:
    usage = negotiated().terms().usage
    names = usage.select(pl.struct("counted_for", "price_id", "price_version"))
    assert names.n_unique() == usage["aggregate"].n_unique() == names.hstack([usage["aggregate"]]).n_unique()
