"""What a carrier charges for the customers' events: rated in the same pass by a tariff of its own."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.queries import check_text
from schemas.ledger import AGGREGATE_KEY, POSITION_KEY
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, instant, one_price, tiers


def call_world() -> World:
    """Calls at 0.1 a unit; one carrier takes 0.04 a unit of route a, another 1 for each package of 10 of route b."""
    world = World().meter(dimensions=["route"]).meter("calls", aggregation="count", property=None)
    world.price("call", tiers((None, "0.1"))).account(partner_id="agent").subscription()
    world.cost("one.call", tiers((None, "0.04")), "one").filter("one.call", "route", "a")
    world.cost("two.call", tiers((None, "1"), package_size="10"), "two", model="package").filter("two.call", "route", "b")
    return world


def call(name: str, units: str = "1", route: str | None = "a", **more: object) -> Row:
    return event(name, {"value": units, "route": route}, **more)


def rows(desk: Desk, *columns: str) -> list[tuple[object, ...]]:
    return desk.postings.select("event_id", "price_id", "role", *columns).rows()


def test_an_event_gets_a_row_of_what_the_carrier_of_its_route_charges() -> None:
    desk = Desk(call_world().share("call", "0.5").terms())
    desk.rate(call("x", "5"), call("y", "5", "b"), call("z", "5", None))
    assert rows(desk, "partner_id", "amount") == [
        ("x", "call", "revenue", None, Decimal("0.5")),
        ("x", "call", "share", "agent", Decimal("0.25")),
        ("x", "one.call", "cost", "one", Decimal("0.2")),
        ("y", "call", "revenue", None, Decimal("0.5")),
        ("y", "call", "share", "agent", Decimal("0.25")),
        ("y", "two.call", "cost", "two", Decimal(1)),
        ("z", "call", "revenue", None, Decimal("0.5")),
        ("z", "call", "share", "agent", Decimal("0.25")),
    ]
    assert desk.postings["stream_row"].to_list() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_the_aggregate_of_a_cost_is_its_own_and_counted_per_subscription() -> None:
    desk = Desk(call_world().subscription("acme-2").terms())
    desk.rate(call("x", "4", "b"), call("y", "5", "b"), call("z", "5", "b", subject="acme-2"))
    desk.rate(call("v", "6"), call("w", "3", "b"))
    costs = desk.postings.filter(price_id="two.call").select("event_id", "before_quanta", "after_quanta", "amount").rows()
    assert costs == [("x", 0, 4, Decimal(1)), ("y", 4, 9, Decimal(0)), ("z", 0, 5, Decimal(1)), ("w", 9, 12, Decimal(1))]


def test_a_cost_may_look_at_the_event_by_another_meter_and_in_another_currency() -> None:
    world = call_world().cost("one.setup", tiers((None, "0.007")), "one", meter_id="calls", currency="USD")
    desk = Desk(world.terms())
    desk.rate(call("x", "60"), call("y", "60", "b"))
    setups = desk.postings.filter(price_id="one.setup")
    assert setups.select("meter_id", "quantity_quanta", "currency", "amount").rows() == [
        ("calls", 1, "USD", Decimal("0.007")),
        ("calls", 1, "USD", Decimal("0.007")),
    ]


def test_an_event_that_costs_something_but_has_no_price_is_a_reject() -> None:
    world = call_world().filter("call", "route", "b", excluded=True)
    desk = Desk(world.terms())
    desk.rate(call("x"), call("y", route="b"))
    assert desk.postings["event_id"].unique().to_list() == ["x"]
    assert desk.reasons == ["no_price"]


def test_an_event_whose_cost_cannot_be_measured_is_a_reject_as_a_whole() -> None:
    world = call_world().meter("kilos", property="kilos").cost("one.kilo", meter_id="kilos", carrier="one")
    desk = Desk(world.terms())
    desk.rate(call("x"), call("y") | {"data.kilos": "2"})
    assert desk.postings["event_id"].unique().to_list() == ["y"]
    assert desk.reasons == ["missing_field"]


def test_a_cost_begins_and_ends_with_its_version_whatever_the_plan_does() -> None:
    world = one_price().subscription("old-1", active_from=instant("2026-10-14"), active_to=instant("2026-10-16"))
    world.cost("telco.usage", tiers((None, "0.5")), valid_from=instant("2026-10-10"), valid_to=instant("2026-10-15"))
    world.cost("telco.usage", tiers((None, "0.6")), price_version="2026-10-15", valid_from=instant("2026-10-15"))
    desk = Desk(world.terms())
    days = [("09", "acme-1"), ("10", "acme-1"), ("14", "old-1"), ("15", "acme-1"), ("15", "old-1"), ("16", "old-1")]
    for number, (day, subject) in enumerate(days):
        desk.rate(event(f"e{number}", subject=subject, occurred_at=instant(f"2026-10-{day}")))
    costs = desk.postings.filter(role="cost").select("event_id", "amount").rows()
    assert costs == [("e1", Decimal("0.5")), ("e2", Decimal("0.5")), ("e3", Decimal("0.6")), ("e4", Decimal("0.6"))]
    assert desk.reasons == ["not_subscribed"]


def test_who_holds_two_plans_on_one_meter_costs_once() -> None:
    world = one_price().price("extra", plan_id="more").subscription("acme-1", plan_id="more").cost(steps=tiers((None, "0.3")))
    desk = Desk(world.terms())
    desk.rate(event("x"))
    assert rows(desk) == [("x", "extra", "revenue"), ("x", "telco.usage", "cost"), ("x", "usage", "revenue")]


def test_an_event_is_known_by_what_the_customer_was_charged_also_when_a_carrier_came_later() -> None:
    desk = Desk(call_world().terms())
    desk.rate(call("x"))
    desk.terms = call_world().cost("one.setup", carrier="one", meter_id="calls").terms()
    assert desk.rate(call("x"), call("x")).duplicates == 2
    assert desk.reasons == []
    assert len(desk.seen) == 1


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "across batches"])
def test_a_retraction_takes_the_cost_back_and_names_its_row(together: bool) -> None:
    desk = Desk(call_world().share("call", "0.5").terms())
    events = [call("x", "4", "b"), call("y", "8", "b"), call("back", "0", "b", retracts="x")]
    for batch in [events] if together else [[one] for one in events]:
        desk.rate(*batch)
    assert desk.reasons == []
    back = desk.postings.filter(event_id="back").select("role", "before_quanta", "after_quanta", "amount", "corrects").rows()
    assert back == [
        ("revenue", 12, 8, Decimal("-0.4"), "file:test/0/0/0"),
        ("share", 12, 8, Decimal("-0.2"), "file:test/0/0/1"),
        ("cost", 12, 8, Decimal(-1), "file:test/0/0/2"),
    ]


def test_a_cost_with_too_large_a_total_refuses_the_event_and_not_the_batch() -> None:
    world = one_price().cost(steps=tiers((None, "1e17")))
    desk = Desk(world.terms())
    desk.rate(event("a", "400"), event("b", "200"), event("c", "99"))
    assert desk.postings["event_id"].unique(maintain_order=True).to_list() == ["a", "c"]
    assert desk.reasons == ["quantity_too_large"]


CALLS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=12)


@examples(12)
@given(calls=CALLS, cuts=st.sets(st.integers(1, 11)), order=st.randoms())
def test_what_is_owed_to_carriers_is_what_their_tariffs_say_of_the_calls_that_stand(
    calls: list[tuple[int, str, bool, bool]], cuts: set[int], order: object
) -> None:
    """Whatever the batches, the order and what is taken back; the route c has no carrier."""
    events = [call(f"e{n}", str(units), route) for n, (units, route, *_) in enumerate(calls)]
    order.shuffle(events)  # type: ignore[attr-defined]
    events += [call(f"back{n}", "0", retracts=f"e{n}") for n, (*_, back, _) in enumerate(calls) if back]
    events += [call(f"e{n}", str(units), route) for n, (units, route, _, again) in enumerate(calls) if again]
    desk = Desk(call_world().terms())
    ends = sorted({cut for cut in cuts if cut < len(events)} | {len(events)})
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        desk.rate(*events[start:end])
    assert desk.reasons == []
    total = {route: sum(units for units, on, back, _ in calls if on == route and not back) for route in "abc"}
    packages = (Decimal(total["b"]) / 10).to_integral_value(ROUND_CEILING)
    assert desk.total("revenue") == Decimal("0.1") * sum(total.values())
    assert desk.total("cost", partner_id="one") == Decimal("0.04") * total["a"]
    assert desk.total("cost", partner_id="two") == packages
    assert_chains(desk)


def assert_chains(desk: Desk) -> None:
    """The ledger's own checks agree, and the counters are the sums of the steps."""
    import duckdb

    connection = duckdb.connect()
    connection.register("postings", desk.postings)
    for check in ("compare_aggregates", "compare_events"):
        left, right = connection.sql(check_text(check)).fetchall()[0][1:]
        assert left == right, check
    assert desk.postings.select(POSITION_KEY).is_unique().all()
    moving = desk.postings.filter(pl.col("role") != "share")
    step = pl.col("after_quanta") - pl.col("before_quanta").fill_null(0)
    sums = moving.group_by(AGGREGATE_KEY).agg(step.sum().alias("stands"))
    assert sums["stands"].to_list() == desk.counters.before(sums.select(AGGREGATE_KEY))["after_quanta"].fill_null(0).to_list()
