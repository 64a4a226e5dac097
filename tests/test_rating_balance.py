"""Buckets pay for usage in their order, nothing is lost on the way, and a restart finds what was there."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.balance import OrderType
from schemas.ledger import POSITION_KEY
from tests.balance_world import adjust, buckets, notices, order, prepaid, rebuilt, state, topup, used
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, one_price, tiers


def retract(event_id: str, target: str) -> Row:
    return event(event_id, "0", retracts=target)


def paid(desk: Desk, event_id: str) -> list[tuple[str, str]]:
    """Which buckets an event took from, with money and units, in order."""
    rows = desk.postings.filter(role="balance", event_id=event_id).sort("after_quanta")
    return [
        (name, f"{quanta}" if quanta else f"{amount.normalize():f}")
        for name, quanta, amount in rows.select("price_id", "quantity_quanta", "amount").iter_rows()
    ]


def test_usage_is_taken_from_the_bucket_with_the_lowest_priority_then_from_the_one_that_ends_first() -> None:
    desk = Desk(prepaid().terms())
    desk.rate(
        topup("t1", "10"),
        topup("t2", "4", bucket="gift", priority="5", valid_to="2027-01-01T00:00:00Z"),
        topup("t3", "3", bucket="sooner", priority="5", valid_to="2026-12-01T00:00:00Z"),
        used("u1", "9"),
    )
    assert paid(desk, "u1") == [("sooner", "-3"), ("gift", "-4"), ("main", "-2")]
    assert buckets(desk) == {"gift": "0", "main": "8", "sooner": "0"}


def test_a_bucket_pays_for_usage_of_its_time_and_not_for_usage_of_another() -> None:
    desk = Desk(prepaid().terms())
    week = {"bucket": "week", "priority": "1", "valid_from": "2026-10-10T00:00:00Z", "valid_to": "2026-10-17T00:00:00Z"}
    desk.rate(
        topup("t1", "10", at="2026-10-01"),
        topup("t2", "5", at="2026-10-01", **week),
        used("early", "1", at="2026-10-09"),
        used("inside", "1", at="2026-10-10"),
        used("after", "1", at="2026-10-17"),
        used("late", "1", at="2026-10-16"),
    )
    assert [paid(desk, name)[0][0] for name in ("early", "inside", "after", "late")] == ["main", "week", "main", "week"]


def test_what_nothing_covers_is_owed_by_the_main_bucket() -> None:
    desk = Desk(prepaid().terms())
    desk.rate(topup("t", "2", bucket="gift"), used("u", "5"))
    assert buckets(desk) == {"gift": "0", "main": "-3"}
    assert desk.total() == 5


def test_units_stand_for_usage_first_and_no_price_counts_them() -> None:
    """CGRateS: the package is used up first, then the rate holds."""
    desk = Desk(prepaid(steps=tiers(("10", "1"), (None, "2")), model="graduated").terms())
    desk.rate(topup("t1", "50"), topup("t2", bucket="pack", meter="usage", quantity="8"), used("u1", "6"), used("u2", "15"))
    revenue = desk.postings.filter(role="revenue").select(
        "event_id", "quantity_quanta", "before_quanta", "after_quanta", "amount"
    )
    assert revenue.rows() == [("u1", 6, 0, 0, Decimal(0)), ("u2", 15, 0, 13, Decimal(16))]
    assert paid(desk, "u2") == [("pack", "-2"), ("main", "-16")]


def test_usage_that_comes_again_is_a_duplicate_also_where_units_covered_it() -> None:
    desk = Desk(prepaid().terms())
    desk.rate(topup("t", bucket="pack", meter="usage", quantity="8"), used("u", "6"))
    again = desk.rate(used("u", "6"), topup("t", bucket="pack", meter="usage", quantity="8"))
    assert (again.duplicates, again.postings.height, again.rejects.height) == (2, 0, 0)


@pytest.mark.parametrize("together", [True, False])
def test_a_retraction_gives_back_to_the_buckets_that_paid(together: bool) -> None:
    desk = Desk(prepaid().terms())
    rows = [
        topup("t1", "10"),
        topup("t2", "3", bucket="gift", priority="1"),
        topup("t3", bucket="pack", meter="usage", quantity="4"),
        used("u1", "9"),
        topup("t4", "7", bucket="gift"),
        retract("r1", "u1"),
    ]
    for part in [rows] if together else [[row] for row in rows]:
        desk.rate(*part)
    assert paid(desk, "r1") == [("pack", "4"), ("main", "2"), ("gift", "3")]
    assert buckets(desk) == {"gift": "10", "main": "10", "pack": "4 units"}
    assert desk.total() == 0


def test_what_a_volume_tier_gives_back_goes_to_the_buckets_that_paid_last() -> None:
    desk = Desk(prepaid(steps=tiers(("10", "2"), (None, "1")), model="volume").terms())
    desk.rate(topup("t1", "12", bucket="gift", priority="1"), topup("t2", "50"), used("u1", "10"), used("u2", "1"))
    assert desk.total() == 11
    assert paid(desk, "u2") == [("main", "8"), ("gift", "1")]
    assert buckets(desk) == {"gift": "1", "main": "50"}


def test_an_account_that_was_invoiced_gets_nothing_into_its_balance_by_a_retraction() -> None:
    world = one_price()
    desk = Desk(world.terms())
    desk.rate(used("u", "5"))
    world.accounts[0]["charging"] = "prepaid"
    desk.terms = world.terms()
    desk.rate(retract("r", "u"))
    assert desk.postings.filter(role="balance").is_empty()


def test_an_account_that_is_invoiced_now_gets_back_what_its_balance_paid() -> None:
    world = prepaid()
    desk = Desk(world.terms())
    desk.rate(topup("t", "9"), used("u", "5"))
    world.accounts[0]["charging"] = "postpaid"
    desk.terms = world.terms()
    desk.rate(retract("r", "u"), used("v", "1"))
    assert buckets(desk) == {"main": "9"}


def test_a_level_is_told_once_when_it_is_reached_and_again_when_it_is_left() -> None:
    desk = Desk(prepaid(low_balance="20").terms())
    desk.rate(topup("t1", "50"))
    for number, units in enumerate(["20", "11", "5", "14", "3"]):
        desk.rate(used(f"u{number}", units))
    desk.rate(topup("t2", "10"), topup("t3", "10"), topup("t4", "30"))
    assert notices(desk) == ["low", "exhausted", "restored", "restored"]


def test_an_overdraft_moves_where_a_balance_is_exhausted() -> None:
    desk = Desk(prepaid(overdraft="5").terms())
    desk.rate(topup("t1", "5"), used("u1", "9"))
    assert notices(desk) == []
    desk.rate(used("u2", "1"))
    assert notices(desk) == ["exhausted"]


BAD = [
    (topup("b", "NaN"), "bad_balance", "no plain decimal number"),
    (topup("b", "-5"), "bad_balance", "send boss.balance.adjust"),
    (topup("b", "1e3"), "bad_balance", "no plain decimal number"),
    (topup("b"), "bad_balance", "either an amount of money or a quantity"),
    (topup("b", "5", quantity="5", meter="usage"), "bad_balance", "either an amount"),
    (topup("b", "5", colour="red"), "bad_balance", "`data.colour` is unknown; remove it"),
    (topup("b", "5", currency="EUR"), "bad_balance", "has CNY"),
    (topup("b", "5", valid_to="tomorrow", bucket="x"), "bad_balance", "no time with a zone"),
    (topup("b", bucket="x", meter="other", quantity="5"), "bad_balance", "there is no meter 'other'"),
    (topup("b", bucket="x", meter="usage", quantity="0.5"), "bad_balance", "at most 0 decimals"),
    (topup("b", bucket="money", meter="usage", quantity="5"), "bad_balance", "holds money"),
    (topup("b", "5", subject="nobody"), "unknown_subject", "'nobody'"),
    (topup("b", "5", subject="invoiced"), "not_prepaid", "charging: prepaid"),
    (adjust("b", "0"), "bad_balance", "moves nothing"),
    (order(OrderType.RELEASE, "b", session="s"), "unknown_reservation", "nothing reserved"),
    (topup("b", "5") | {"event_type": "boss.balance.gift"}, "unknown_type", "'boss.balance.gift'"),
    (topup("b", "5") | {"message": b"{"}, "bad_balance", "cannot be read"),
    (topup("t", "6"), "duplicate_differs", "another content"),
]


@pytest.mark.parametrize(("wrong", "reason", "words"), BAD, ids=[f"{number}-{row[1]}" for number, row in enumerate(BAD)])
def test_an_order_that_is_wrong_is_a_reject_that_says_why(wrong: Row, reason: str, words: str) -> None:
    desk = Desk(prepaid().account("invoiced").terms())
    desk.rate(topup("t", "5"), topup("m", "1", bucket="money"))
    before = state(desk.balances)
    rejected = desk.rate(wrong)
    assert rejected.rejects["reason"].to_list() == [reason]
    assert words in rejected.rejects["detail"][0]
    assert rejected.postings.is_empty()
    assert state(desk.balances) == before


def test_units_are_refused_of_a_meter_whose_aggregate_is_no_total() -> None:
    world = World().meter(aggregation="max").price().account(charging="prepaid").subscription()
    desk = Desk(world.terms())
    desk.rate(topup("t", bucket="pack", meter="usage", quantity="3"))
    assert desk.reasons == ["bad_balance"]


def test_usage_that_is_refused_uses_no_units() -> None:
    desk = Desk(prepaid(steps=tiers((None, "1000000000"))).terms())
    too_much = str(2**62)
    desk.rate(topup("t", bucket="pack", meter="usage", quantity="5"), used("u1", "2"), used("u2", "8"))
    refused = desk.rate(topup("t2", bucket="pack", meter="usage", quantity="5"), used("u3", too_much), used("u4", "1"))
    assert refused.rejects["reason"].to_list() == ["quantity_too_large"]
    assert buckets(desk)["pack"] == "4 units"


ORDERS = st.one_of(
    st.tuples(st.just("topup"), st.integers(1, 30), st.sampled_from(["main", "a", "b"]), st.integers(0, 3)),
    st.tuples(st.just("units"), st.integers(1, 30)),
    st.tuples(st.just("adjust"), st.integers(-20, 20).filter(bool)),
    st.tuples(st.just("use"), st.integers(0, 25), st.integers(1, 28)),
    st.tuples(st.just("retract"), st.integers(0, 10)),
)


def events_of(story: list[Any]) -> list[Row]:
    rows: list[Row] = []
    uses: list[str] = []
    for number, (kind, *rest) in enumerate(story):
        name = f"e{number}"
        if kind == "topup":
            amount, bucket, priority = rest
            ends = {"valid_to": f"2026-10-{10 + 8 * priority}T00:00:00Z"} if bucket != "main" and priority < 2 else {}
            rows.append(topup(name, str(amount), bucket=bucket, priority=str(priority), **ends))
        elif kind == "units":
            rows.append(topup(name, bucket="pack", meter="usage", quantity=str(rest[0])))
        elif kind == "adjust":
            rows.append(adjust(name, str(rest[0])))
        elif kind == "use":
            rows.append(used(name, str(rest[0]), at=f"2026-10-{rest[1]:02d}"))
            uses.append(name)
        elif uses:
            rows.append(retract(name, uses[rest[0] % len(uses)]))
    return rows


@examples(15)
@given(
    story=st.lists(ORDERS, min_size=1, max_size=14),
    cuts=st.lists(st.integers(1, 14), max_size=4),
    model=st.sampled_from(["graduated", "volume"]),
)
def test_any_cut_into_batches_gives_the_same_rows_and_rows_add_up_to_what_is_left(
    story: list[Any], cuts: list[int], model: str
) -> None:
    terms = prepaid(steps=tiers(("20", "2"), ("40", "1.5"), (None, "0.5")), model=model, low_balance="10").terms()
    rows = events_of(story)
    whole, cut = Desk(terms), Desk(terms)
    whole.rate(*rows)
    places = sorted({0, len(rows), *(place for place in cuts if place < len(rows))})
    for start, end in pairwise(places):
        cut.rate(*rows[start:end])
    assert cut.postings.sort(POSITION_KEY).equals(whole.postings.sort(POSITION_KEY))
    assert rebuilt(whole.postings) == state(whole.balances) == state(cut.balances)
    added = whole.postings.filter((pl.col("role") == "balance") & (pl.col("charge") != "deduct"))
    deducted = whole.postings.filter(role="balance", charge="deduct")
    assert -sum(deducted["amount"].to_list(), Decimal(0)) == whole.total()
    account = whole.balances.account("acme")
    money = sum(bucket.left for bucket in account.buckets.values() if bucket.meter_id is None)
    assert Decimal(money).scaleb(-18) == sum(added["amount"].to_list(), Decimal(0)) - whole.total()
    assert all(bucket.left >= 0 for bucket in account.buckets.values() if bucket.name not in ("main",))
    numbers = whole.postings.filter(pl.col("role").is_in(["balance", "notice"]))["after_quanta"].sort().to_list()
    assert numbers == list(range(1, len(numbers) + 1))
