"""A batch as a whole: each event once, rows in order, totals that cannot overflow, state that changes only when told."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from rating.batch import rate_batch
from rating.counters import Counters
from rating.seen import SeenEvents
from schemas.ledger import AGGREGATE_KEY, POSITION_KEY, POSTINGS
from schemas.usage import REJECTS
from tests.rating_world import Desk, World, arriving, event, instant, one_price, tiers

INT64 = 2**63 - 1


def test_an_empty_batch_gives_empty_frames() -> None:
    rated = rate_batch(arriving(), one_price().terms(), Counters(), SeenEvents())
    assert rated.postings.equals(POSTINGS.empty())
    assert rated.rejects.equals(REJECTS.empty())
    assert rated.duplicates == 0


def test_every_row_says_whose_usage_adds_up_in_its_aggregate() -> None:
    desk = Desk(one_price().subscription("acme-2").share("usage", "0.5").terms())
    desk.rate(event("a"), event("b", subject="acme-2"), event("c"))
    assert desk.postings["counted_for"].to_list() == ["acme-1"] * 2 + ["acme-2"] * 2 + ["acme-1"] * 2
    assert desk.postings.filter(role="revenue")["after_quanta"].to_list() == [1, 1, 2]


def test_a_batch_of_strangers_gives_only_rejects() -> None:
    desk = Desk(one_price().terms())
    rated = desk.rate(event("a", event_type="x"), event("b", subject="x"), event("c", "x"))
    assert rated.postings.is_empty()
    assert desk.reasons == ["unknown_type", "unknown_subject", "bad_quantity"]


def test_an_event_delivered_again_is_counted_and_not_charged() -> None:
    desk = Desk(one_price().terms())
    assert desk.rate(event("a"), event("a"), event("b"), event("a")).duplicates == 2
    assert desk.rate(event("b"), event("c")).duplicates == 1
    assert desk.postings["event_id"].to_list() == ["a", "b", "c"]
    assert desk.reasons == []


@pytest.mark.parametrize(
    "changed",
    [{"data.value": "2"}, {"occurred_at": instant("2026-10-16")}, {"subject": "acme-2"}],
    ids=["quantity", "time", "subscription"],
)
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "across batches"])
def test_an_id_that_comes_again_with_another_content_is_refused(changed: dict[str, object], together: bool) -> None:
    desk = Desk(one_price().subscription("acme-2").terms())
    first, second = event("a"), event("a") | changed
    if together:
        desk.rate(first, second)
    else:
        desk.rate(first)
        desk.rate(second)
    assert desk.postings.height == 1
    assert desk.reasons == ["duplicate_differs"]
    assert sum(result.duplicates for result in desk.results) == 0


def test_the_same_quantity_written_differently_is_the_same_content() -> None:
    desk = Desk(one_price(scale=2).terms())
    assert desk.rate(event("a", "10"), event("a", "1e1"), event("a", "10.00")).duplicates == 2


def test_the_same_id_from_another_source_is_another_event() -> None:
    desk = Desk(one_price().terms())
    desk.rate(event("a"), event("a", event_source="other"))
    assert desk.postings.height == 2


def test_an_event_that_was_refused_may_be_sent_again_mended() -> None:
    desk = Desk(one_price().terms())
    desk.rate(event("a", "-1"), event("a", "1"))
    desk.rate(event("b", "NaN"))
    desk.rate(event("b", "2"))
    assert desk.postings["event_id"].to_list() == ["a", "b"]
    assert desk.reasons == ["negative_quantity", "bad_quantity"]


def test_an_event_with_several_meters_is_known_by_all_of_them() -> None:
    world = World().meter("minutes").meter("ports", property="ports").account().subscription()
    world.price("minute", meter_id="minutes").price("again", meter_id="minutes").price("port", meter_id="ports")
    desk = Desk(world.terms())
    both = event("a", {"value": "1", "ports": "2"})
    assert desk.rate(both, both).duplicates == 1
    assert desk.rate(both, both | {"data.ports": "3"}).duplicates == 1
    assert desk.postings.height == 3
    assert desk.reasons == ["duplicate_differs"]


def test_what_was_rated_is_known_again_after_the_state_is_rebuilt_from_the_ledger() -> None:
    terms = one_price("graduated", tiers(("10", "1"), (None, "0"))).share("usage", "0.5").terms()
    desk = Desk(terms)
    desk.rate(event("a", "4"), event("b", "4"))
    revenue = desk.postings.filter(role="revenue")
    rebuilt = Desk(terms)
    rebuilt.counters.load(revenue.group_by(AGGREGATE_KEY).agg(pl.col("after_quanta").max(), events=pl.len()))
    rebuilt.seen.add(
        revenue.select("event_source", "event_id", "subscription_id", "occurred_at", "meter_id", "quantity_quanta", "value")
    )
    rated = rebuilt.rate(event("a", "4"), event("c", "4"), event("b", "5"))
    assert rated.duplicates == 1
    assert rated.rejects["reason"].to_list() == ["duplicate_differs"]
    assert rebuilt.postings.filter(role="revenue").select("before_quanta", "after_quanta", "amount").rows() == [
        (8, 12, Decimal(2))
    ]


def test_rating_changes_no_state_until_it_is_told() -> None:
    terms, counters, seen = one_price().terms(), Counters(), SeenEvents()
    first = rate_batch(arriving(event("a")), terms, counters, seen)
    second = rate_batch(arriving(event("a")), terms, counters, seen)
    assert first.postings.equals(second.postings)
    assert (len(counters), len(seen)) == (0, 0)


def test_rows_come_by_position_and_are_numbered_within_their_message() -> None:
    world = one_price().price("a-second").share("usage", "0.5").share("a-second", "0.25").share("usage", "0.1", "other")
    events = arriving(event("x"), event("y"), event("z"), event("v")).with_columns(
        stream=pl.Series(["s2", "s1", "s1", "s1"]),
        stream_partition=pl.Series([0, 1, 0, 0], dtype=pl.Int32),
        stream_offset=pl.Series([5, 5, 7, 7], dtype=pl.Int64),
        event_index=pl.Series([0, 0, 1, 0], dtype=pl.Int32),
    )
    rows = rate_batch(events, world.terms(), Counters(), SeenEvents()).postings
    one_event = [
        ("a-second", "revenue", None),
        ("a-second", "share", "agent"),
        ("usage", "revenue", None),
        ("usage", "share", "agent"),
    ]
    assert rows["event_id"].to_list() == [name for name in "vzyx" for _ in one_event]
    assert rows.select("price_id", "role", "partner_id").rows() == one_event * 4
    assert rows["stream_row"].to_list() == [*range(8), *range(4), *range(4)]
    assert rows.select(POSITION_KEY).is_unique().all()
    assert rows.equals(rows.sort(POSITION_KEY))


def test_a_share_is_due_while_its_agreement_is_in_force() -> None:
    world = one_price().share("usage", "0.333333", valid_from=instant("2026-10-10"), valid_to=instant("2026-10-20"))
    desk = Desk(world.terms())
    desk.rate(*(event(f"e{day}", "10", occurred_at=instant(f"2026-10-{day}")) for day in ("09", "10", "19", "20")))
    assert desk.postings.filter(role="share").select("event_id", "partner_id", "amount").rows() == [
        ("e10", "agent", Decimal("3.33333")),
        ("e19", "agent", Decimal("3.33333")),
    ]


def test_a_running_total_beyond_64_bits_refuses_the_event_and_not_the_batch() -> None:
    desk = Desk(one_price(steps=tiers((None, "0"))).terms())
    desk.rate(event("a", str(INT64 - 5)))
    rated = desk.rate(event("b", "3"), event("c", "3"), event("d", "2"), event("e", "1"))
    assert rated.postings["event_id"].to_list() == ["b", "d"]
    assert rated.postings["after_quanta"].to_list() == [INT64 - 2, INT64]
    assert desk.reasons == ["quantity_too_large"] * 2


def test_a_total_beyond_exact_money_refuses_the_event_as_if_they_came_one_by_one() -> None:
    dear = one_price(steps=tiers((None, "1e17"))).terms()
    together, apart = Desk(dear), Desk(dear)
    events = [event(f"e{i}", quantity) for i, quantity in enumerate(["400", "99", "1", "100", "3", "501"])]
    together.rate(*events)
    for one in events:
        apart.rate(one)
    assert together.reasons == ["quantity_too_large"] * 4
    assert sorted(apart.reasons) == sorted(together.reasons)
    assert together.total() == apart.total() == Decimal(499) * 10**17


def test_an_event_refused_for_one_of_its_prices_is_not_charged_by_the_others() -> None:
    world = World().meter("minutes").meter("ports", property="ports").account().subscription()
    world.price("minute", tiers((None, "1e17")), meter_id="minutes").price("port", meter_id="ports")
    desk = Desk(world.terms())
    desk.rate(*(event(f"e{i}", {"value": quantity, "ports": "1"}) for i, quantity in enumerate(["400", "200", "90"])))
    assert desk.postings["event_id"].unique(maintain_order=True).to_list() == ["e0", "e2"]
    assert desk.postings.filter(price_id="port")["after_quanta"].to_list() == [1, 2]


def test_a_max_never_falls() -> None:
    desk = Desk(one_price(aggregation="max", steps=tiers((None, "10"))).terms())
    desk.rate(event("a", "5"), event("b", "20"), event("c", "3"))
    desk.rate(event("d", "19"), event("e", "21"))
    assert desk.postings.select("quantity_quanta", "before_quanta", "after_quanta").rows() == [
        (5, 0, 5),
        (20, 5, 20),
        (3, 20, 20),
        (19, 20, 20),
        (21, 20, 21),
    ]
    assert desk.total() == Decimal(210)


def test_old_ids_are_found_however_many_runs_they_are_spread_over() -> None:
    desk = Desk(one_price().terms())
    for number in range(30):
        desk.rate(event(f"e{number}"))
    assert len(desk.seen) == 30
    assert desk.rate(*(event(f"e{number}") for number in range(31))).duplicates == 30
    assert desk.total() == Decimal(31)
