"""Counters: where aggregates stand is what their rows add up to."""

from __future__ import annotations

from datetime import date

import polars as pl

from rating.counters import Counters
from schemas.ledger import AGGREGATE_KEY, POSTINGS


def moved(subscription: str, before: int | None, after: int, **more: object) -> dict[str, object]:
    row: dict[str, object] = {
        "subscription_id": subscription,
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
