"""Totals over an account or a hierarchy of accounts: one running total, and each event is paid by who used it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from pipelines.posted_usage import posted_usage
from pipelines.rate_posted import match_posted, price_posted
from rating.counters import Counters
from rating.hierarchy import root_accounts
from rating.zero_usage import post_zero_usage
from schemas.errors import BrokenPromise
from schemas.ledger import AGGREGATE_KEY, POSTINGS
from schemas.period import Period
from schemas.roster import ACCOUNTS
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, instant, tiers

OCTOBER = Period(2026, 10)
USERS = ("acme-1", "acme-2", "lab-1", "other-1")


def shared(over: str, *, aggregation: str = "sum", model: str = "per_unit", steps: Any = (), **more: object) -> World:
    """acme and lab below holding, and other by itself; acme has two subscriptions, lab and other one each."""
    world = World().meter(aggregation=aggregation).price("usage", steps, own=False, model=model, counted_over=over, **more)
    world.account("holding").account("acme", parent_id="holding").account("lab", parent_id="acme").account("other")
    for user in USERS:
        world.subscription(user, user.partition("-")[0])
    return world


def amounts(desk: Desk) -> dict[str, Decimal]:
    rows = desk.postings.filter(role="revenue").group_by("subscription_id").agg(pl.col("amount").sum())
    return dict(rows.sort("subscription_id").iter_rows())


def each(*quantities: str, users: tuple[str, ...] = USERS) -> list[Row]:
    return [event(f"{user}-{quantity}", quantity, subject=user) for user, quantity in zip(users, quantities, strict=True)]


def test_included_units_of_an_account_are_for_all_its_subscriptions_together() -> None:
    desk = Desk(shared("account", included_units=Decimal(100)).terms())
    desk.rate(*each("70", "50", "70", "100"))
    assert amounts(desk) == {"acme-1": 0, "acme-2": 20, "lab-1": 0, "other-1": 0}
    assert desk.postings["counted_for"].unique().sort().to_list() == ["account:acme", "account:lab", "account:other"]


def test_included_units_of_a_group_are_for_everybody_below_its_root() -> None:
    desk = Desk(shared("group", included_units=Decimal(100)).terms())
    desk.rate(*each("70", "50", "70", "100"))
    assert amounts(desk) == {"acme-1": 0, "acme-2": 20, "lab-1": 70, "other-1": 0}
    assert desk.postings["counted_for"].unique().sort().to_list() == ["group:holding", "group:other"]
    assert desk.postings.filter(subscription_id="lab-1")["account_id"].to_list() == ["lab"]


@pytest.mark.parametrize(
    ("model", "steps", "more", "costs"),
    [
        ("per_unit", (), {"cap": Decimal(50)}, [30, 20, 0]),
        ("volume", tiers(("50", "2"), (None, "1")), {}, [60, 0, 30]),
        ("graduated", tiers(("50", "2"), (None, "1", "5")), {}, [60, 55, 30]),
        ("stair_step", tiers(("50", "0", "10"), (None, "0", "25")), {}, [10, 15, 0]),
        ("per_unit", (), {"per": "event", "free_events": 2}, [0, 0, 30]),
        ("per_unit", (), {"per": "event", "included_units": Decimal(40)}, [0, 20, 30]),
    ],
)
def test_every_model_works_over_a_group(model: str, steps: Any, more: dict[str, Any], costs: list[int]) -> None:
    desk = Desk(shared("group", model=model, steps=steps, **more).terms())
    desk.rate(*each("30", "30", "30", users=("acme-1", "acme-2", "lab-1")))
    assert desk.postings["amount"].to_list() == [Decimal(cost) for cost in costs]


@pytest.mark.parametrize(("aggregation", "total"), [("count", 3), ("max", 9), ("min", 2), ("unique", 3), ("peak", 16)])
def test_what_several_subscriptions_report_is_one_total(aggregation: str, total: int) -> None:
    desk = Desk(shared("group", aggregation=aggregation).terms())
    desk.rate(*each("5", "9", "2", users=("acme-1", "acme-2", "lab-1")))
    assert desk.postings["after_quanta"][-1] == total
    assert desk.total() == total


def test_a_discount_of_one_subscription_takes_its_usage_out_of_the_shared_total() -> None:
    world = shared("account", included_units=Decimal(100)).discount("usage", "0.5", subscription_id="acme-2")
    desk = Desk(world.terms())
    desk.rate(*each("70", "120", "0", "0"))
    assert amounts(desk) == {"acme-1": 0, "acme-2": 10, "lab-1": 0, "other-1": 0}


def test_an_event_taken_back_leaves_the_shared_total_also_when_the_group_has_changed_since() -> None:
    world = shared("group", included_units=Decimal(100))
    desk = Desk(world.terms())
    desk.rate(*each("70", "50", "70", "0"))
    world.accounts[1]["parent_id"] = None  # acme and lab leave the holding
    desk.terms = world.terms()
    desk.rate(event("new", "100", subject="lab-1"), event("r", "0", subject="acme-2", retracts="acme-2-50"))
    standing = desk.postings.group_by("counted_for").agg(
        (pl.col("after_quanta") - pl.col("before_quanta")).sum(), pl.col("amount").sum()
    )
    told = standing.filter(pl.col("counted_for") != "group:other").sort("counted_for").rows()
    assert told == [("group:acme", 100, Decimal(0)), ("group:holding", 140, Decimal(40))]


def test_the_largest_of_a_group_is_found_again_when_it_is_taken_back() -> None:
    desk = Desk(shared("group", aggregation="max").terms())
    desk.rate(*each("5", "9", "2", users=("acme-1", "acme-2", "lab-1")))
    desk.rate(event("r", "0", subject="acme-2", retracts="acme-2-9"))
    assert desk.postings["after_quanta"][-1] == 5
    assert desk.total() == 5


MODELS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "graduated": ("graduated", tiers(("40", "3"), (None, "1", "7")), {}),
    "volume": ("volume", tiers(("40", "3"), ("80", "2", "5"), (None, "1")), {"included_units": Decimal(10)}),
    "package": ("package", tiers((None, "4"), package_size="25"), {"cap": Decimal(13)}),
}


def price_of(name: str, total: int) -> Decimal:
    """f of a total, by the rules in docs/CATALOG.md."""
    if name == "package":
        return min(Decimal(13), Decimal(4) * -(-total // 25))
    if name == "volume":
        left = max(total - 10, 0)
        return Decimal(left * 3 if left <= 40 else left * 2 + 5 if left <= 80 else left)
    return Decimal(min(total, 40) * 3 + (max(total - 40, 0) + 7 if total > 40 else 0))


@examples(12, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(MODELS)),
    st.lists(st.tuples(st.sampled_from(USERS[:3]), st.integers(0, 60), st.booleans()), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_a_shared_total_costs_the_same_for_every_cut_order_and_retraction(name: str, uses: list[Any], random: Any) -> None:
    model, steps, more = MODELS[name]
    desk = Desk(shared("group", model=model, steps=steps, **more).terms())
    story = [event(f"e{n}", str(quantity), subject=user) for n, (user, quantity, _) in enumerate(uses)]
    random.shuffle(story)
    back = [event(f"r{n}", "0", subject=user, retracts=f"e{n}") for n, (user, _, gone) in enumerate(uses) if gone]
    random.shuffle(back)
    story += back
    while story:
        size = random.randint(1, len(story))
        desk.rate(*story[:size])
        story = story[size:]
    left = sum(quantity for _, quantity, gone in uses if not gone)
    everything_gone = all(gone for *_, gone in uses)
    assert desk.reasons == []
    assert desk.total() == (0 if everything_gone else price_of(name, left))
    usage = posted_usage(desk.postings.with_columns(covered_quanta=pl.lit(0, pl.Int64)))
    matched = match_posted(usage, desk.terms)
    again = price_posted(matched, matched.charged, Counters())
    assert again.sums()["quanta"].to_list() == [sum(quantity for _, quantity, _ in uses)]
    assert sum(again.by_account()["scaled"].to_list()) == again.sums()["scaled"].sum()


def used(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(AGGREGATE_KEY).unique()


def zero_fees(world: World, usage: pl.DataFrame, posted: pl.DataFrame | None = None) -> list[tuple[str, str, Decimal]]:
    rows = post_zero_usage(OCTOBER, world.terms(), used(usage), POSTINGS.empty() if posted is None else posted)
    return rows.select("counted_for", "subscription_id", "amount").rows()


def test_a_fee_at_zero_usage_is_due_once_for_all_who_are_counted_together() -> None:
    world = shared("group", model="graduated", steps=tiers((None, "1", "10")), flat_at_zero=True)
    nothing = POSTINGS.empty()
    assert zero_fees(world, nothing) == [("group:holding", "acme-1", Decimal(10)), ("group:other", "other-1", Decimal(10))]
    desk = Desk(world.terms())
    desk.rate(event("a", "5", subject="lab-1"))
    assert zero_fees(world, desk.postings) == [("group:other", "other-1", Decimal(10))]
    posted = post_zero_usage(OCTOBER, world.terms(), used(nothing), nothing)
    assert zero_fees(world, desk.postings, posted) == [("group:holding", "acme-1", Decimal(-10))]


def test_who_has_terms_of_its_own_has_a_fee_at_zero_usage_of_its_own() -> None:
    world = shared("account", model="graduated", steps=tiers((None, "1", "10")), flat_at_zero=True)
    world.discount("usage", "0.5", subscription_id="acme-2")
    desk = Desk(world.terms())
    desk.rate(event("a", "5", subject="acme-1"), event("b", "5", subject="lab-1"), event("c", "5", subject="other-1"))
    assert zero_fees(world, desk.postings) == [("account:acme", "acme-2", Decimal(5))]


def accounts(**parents: str | None) -> pl.DataFrame:
    return ACCOUNTS.build([{"account_id": name, "parent_id": parent} for name, parent in parents.items()])


def test_a_root_is_found_through_any_number_of_parents() -> None:
    chain = {f"a{n}": None if n == 0 else f"a{n - 1}" for n in range(300)}
    roots = root_accounts(accounts(**chain, lone=None, lost="nobody"))
    assert set(roots["root_id"]) == {"a0", "lone", "lost"}
    assert roots.height == 302


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_circle_of_parents_has_no_root(size: int) -> None:
    with pytest.raises(BrokenPromise, match="its own parent"):
        root_accounts(accounts(**{f"a{n}": f"a{(n + 1) % size}" for n in range(size)}, below="a0"))


def test_the_periods_of_a_group_are_those_of_each_member() -> None:
    desk = Desk(shared("group").terms())
    desk.rate(event("a", "1", subject="acme-1"), event("b", "2", subject="lab-1", occurred_at=instant("2026-09-30")))
    assert desk.postings["after_quanta"].to_list() == [1, 2]
