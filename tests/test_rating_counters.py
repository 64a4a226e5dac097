"""Counters: where aggregates stand is what their rows add up to."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.counters import Counters
from schemas.ledger import AGGREGATE_KEY, POSTINGS
from tests.examples import examples


def moved(subscription: str, before: int | None, after: int, **more: object) -> dict[str, object]:
    row: dict[str, object] = {
        "counted_for": subscription,
        "price_id": "usage",
        "price_version": "2026-01-01",
        "usage_period": date(2026, 10, 1),
        "role": "revenue",
        "event_id": "e",
        "before_quanta": before or 0,
        "after_quanta": after,
    }
    return row | more


def standing(counters: Counters, *subscriptions: str, period: date = date(2026, 10, 1)) -> list[tuple[int | None, int]]:
    keys = POSTINGS.build([moved(name, 0, 0, usage_period=period) for name in subscriptions])
    return counters.before(keys.select(AGGREGATE_KEY)).rows()


def test_an_aggregate_that_has_not_begun_has_no_total_and_no_events() -> None:
    assert standing(Counters(), "a") == [(None, 0)]


def test_rows_move_an_aggregate_in_whatever_order_they_are_told() -> None:
    counters = Counters()
    counters.advance(POSTINGS.build([moved("a", 3, 9), moved("b", 0, 1), moved("a", 0, 3)]))
    counters.advance(POSTINGS.build([moved("a", 9, 7)]))
    assert standing(counters, "b", "c", "a") == [(1, 1), (None, 0), (7, 3)]
    assert len(counters) == 2


def test_shares_and_rows_of_a_bill_run_move_nothing() -> None:
    counters = Counters()
    counters.advance(POSTINGS.build([moved("a", 0, 3), moved("a", 0, 3, role="share"), moved("b", 0, 31, event_id=None)]))
    assert standing(counters, "a", "b") == [(3, 1), (None, 0)]


def test_loading_replaces_everything() -> None:
    counters = Counters()
    counters.advance(POSTINGS.build([moved("a", 0, 3)]))
    totals = POSTINGS.build([moved("b", 0, 5)]).select(*AGGREGATE_KEY, "after_quanta", events=pl.lit(4))
    counters.load(totals)
    assert standing(counters, "a", "b") == [(None, 0), (5, 4)]


def test_each_usage_period_is_an_aggregate_of_its_own() -> None:
    counters = Counters()
    counters.advance(POSTINGS.build([moved("a", 0, 3), moved("a", 0, 4, usage_period=date(2026, 11, 1))]))
    assert standing(counters, "a", period=date(2026, 11, 1)) == [(4, 1)]
    assert standing(counters, "a", period=date(1969, 12, 1)) == [(None, 0)]


def test_rows_that_take_others_back_undo_an_aggregate() -> None:
    counters = Counters()
    counters.advance(POSTINGS.build([moved("a", 0, 3), moved("a", 3, 0, corrects="k/0/0/0")]))
    assert standing(counters, "a") == [(None, 0)]


def test_what_is_known_only_in_part_has_not_begun() -> None:
    counters = Counters()
    counters.advance(POSTINGS.build([moved("a", 0, 3), moved("b", 0, 4, price_id="other")]))
    keys = POSTINGS.build([moved("a", 0, 0, price_id="other"), moved("c", 0, 0), moved("a", 0, 0, price_version="new")])
    assert counters.before(keys).rows() == [(None, 0)] * 3


@examples(20)
@given(
    batches=st.lists(
        st.lists(st.tuples(*[st.sampled_from("ab")] * 3, st.integers(-9, 9), st.integers(-50, 50)), max_size=12), max_size=6
    )
)
def test_counters_agree_with_plain_addition(batches: list[list[tuple[str, str, str, int, int]]]) -> None:
    counters, expected = Counters(), dict[tuple[str, str, str, int], list[int]]()
    for batch in batches:
        rows = []
        for subscription, price, version, month, step in batch:
            period = date(2026, 1, 1) + timedelta(days=31 * month)
            rows.append(moved(subscription, 0, step, price_id=price, price_version=version, usage_period=period))
            totals = expected.setdefault((subscription, price, version, month), [0, 0])
            totals[0] += step
            totals[1] += 1
        counters.advance(POSTINGS.build(rows))
        assert counters.before(POSTINGS.build(rows)).rows() == [tuple(expected[row[:4]]) for row in batch]
    assert len(counters) == len(expected)


NEAR_THE_EDGE = st.sampled_from([-(2**63), -(2**62), -1, 0, 1, 7, 2**62, 2**63 - 1])


@examples(30)
@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), st.none() | NEAR_THE_EDGE, NEAR_THE_EDGE, st.booleans()), max_size=14),
    cut=st.integers(0, 14),
)
def test_rows_of_the_ledger_add_up_in_any_order_even_where_their_sum_leaves_64_bits_and_comes_back(
    rows: list[tuple[str, int | None, int, bool]], cut: int
) -> None:
    counters, expected = Counters(), dict[str, list[int]]()
    for name, before, after, corrects in rows:
        totals = expected.setdefault(name, [0, 0])
        totals[0] += after - (before or 0)
        totals[1] += -1 if corrects else 1
    for some in (rows[:cut], rows[cut:]):
        told = [
            moved(name, before, after, before_quanta=before, corrects="k/0/0/0" if corrects else None)
            for name, before, after, corrects in some
        ]
        counters.follow(POSTINGS.build(told))
    assert counters.beyond() == any(not -(2**63) <= quanta < 2**63 for quanta, _ in expected.values())
    if not counters.beyond():
        stands = [(quanta if events > 0 else None, events) for quanta, events in expected.values()]
        assert standing(counters, *expected) == stands
