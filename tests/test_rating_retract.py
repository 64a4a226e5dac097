"""Events that are taken back: what is left is what there would be without them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.aggregates.kinds import NEGATIVE
from schemas.ledger import POSITION_KEY
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, instant, one_price, tiers
from tests.test_rating_aggregates import BEGIN, RULES, Point, as_event, price_of, terms_of


def retraction(name: str, of: str, **more: object) -> Row:
    return event(name, {"value": None}, retracts=of) | more


Step = Point | str
"""A point, or the id of a point that is taken back."""


@st.composite
def stories(draw: st.DrawFn) -> tuple[str, list[list[Step]]]:
    """Points in some order of arrival, some of them taken back later, cut into batches."""
    aggregation = draw(st.sampled_from(sorted(RULES)))
    lowest = -4 if aggregation in NEGATIVE else 0
    moment = st.integers(0, 60) | st.integers(0, 31 * 1440 - 1)
    rows = draw(st.lists(st.tuples(moment, st.integers(lowest, 6)), min_size=1, max_size=16))
    steps: list[Step] = [(BEGIN + timedelta(minutes=minutes), f"e{place}", n) for place, (minutes, n) in enumerate(rows)]
    for place in draw(st.sets(st.integers(0, len(rows) - 1), min_size=1)):
        at = next(i for i, step in enumerate(steps) if not isinstance(step, str) and step[1] == f"e{place}")
        steps.insert(draw(st.integers(at + 1, len(steps))), f"e{place}")
    cuts = sorted(draw(st.sets(st.integers(1, len(steps)), max_size=4)) | {0, len(steps)})
    return aggregation, [steps[start:end] for start, end in pairwise(cuts)]


def as_row(step: Step) -> Row:
    return retraction(f"no-{step}", step) if isinstance(step, str) else as_event(step)


@examples(25)
@given(stories())
def test_what_is_taken_back_leaves_no_trace_in_the_totals(case: tuple[str, list[list[Step]]]) -> None:
    aggregation, batches = case
    desk = Desk(terms_of(aggregation))
    left: dict[str, Point] = {}
    for batch in batches:
        rows = desk.rate(*map(as_row, batch)).postings.filter(role="revenue")
        for number, step in enumerate(batch):
            if isinstance(step, str):
                del left[step]
            else:
                left[step[1]] = step
            assert rows["after_quanta"][number] == RULES[aggregation](list(left.values()))
    assert desk.reasons == []
    rows = desk.postings.filter(role="revenue")
    assert (rows["after_quanta"] - rows["before_quanta"]).sum() == RULES[aggregation](list(left.values()))
    assert desk.total() == price_of(aggregation, list(left.values()))
    assert desk.total("share") == desk.total() * Decimal("0.2")


def shown(desk: Desk) -> list[tuple[str, int, int, Decimal]]:
    rows = desk.postings.filter(role="revenue")
    return list(rows.select("event_id", "quantity_quanta", "after_quanta", "amount").iter_rows())


@pytest.mark.parametrize("batches", [[2], [1, 1]], ids=["in the same batch", "in a later batch"])
def test_a_retraction_is_a_row_of_its_own_that_names_the_row_it_takes_back(batches: list[int]) -> None:
    world = one_price().share("usage", "0.5")
    desk = Desk(world.terms())
    events = [event("a", "5", occurred_at=instant("2026-09-20")), retraction("r", "a", occurred_at=instant("2026-10-02"))]
    for size in batches:
        desk.rate(*events[:size])
        events = events[size:]
    assert shown(desk) == [("a", 5, 5, Decimal(5)), ("r", -5, 0, Decimal(-5))]
    assert desk.postings.select("role", "usage_month", "corrects").rows() == [
        ("revenue", "2026-09", None),
        ("share", "2026-09", None),
        ("revenue", "2026-09", "file:test/0/0/0"),
        ("share", "2026-09", "file:test/0/0/1"),
    ]
    assert desk.postings["occurred_at"].unique().to_list() == [instant("2026-09-20")]
    assert desk.total("share") == 0


def judged(*batches: Sequence[Row]) -> tuple[int, list[str], Decimal]:
    """Duplicates, reasons and the total after these batches."""
    desk = Desk(one_price().subscription("acme-2").terms())
    for batch in batches:
        desk.rate(*batch)
    return sum(result.duplicates for result in desk.results), desk.reasons, desk.total()


A, B, NOT_A = event("a", "5"), event("b", "3"), retraction("r", "a")


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_taken_back_twice_or_delivered_twice_is_a_duplicate(cut: int) -> None:
    for again in (NOT_A, retraction("other", "a"), A):
        story = [A, B, NOT_A, again]
        assert judged(story[:cut], story[cut:]) == (1, [], Decimal(3))


@pytest.mark.parametrize("cut", [0, 1])
def test_what_was_never_charged_cannot_be_taken_back_until_it_is(cut: int) -> None:
    story = [NOT_A, A]
    assert judged(story[:cut], story[cut:]) == (0, ["unknown_retraction"], Decimal(5))
    assert judged(story, [NOT_A]) == (0, ["unknown_retraction"], Decimal(0))


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_retraction_cannot_be_taken_back(cut: int) -> None:
    story = [A, NOT_A, retraction("s", "r")]
    assert judged(story[:cut], story[cut:]) == (0, ["unknown_retraction"], Decimal(0))


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_the_subject_must_be_of_the_subscription_that_was_charged(cut: int) -> None:
    for stranger in ("acme-2", "nobody"):
        story = [A, NOT_A | {"subject": stranger}]
        assert judged(story[:cut], story[cut:]) == (0, ["unknown_retraction"], Decimal(5))


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_an_id_that_was_charged_cannot_be_a_retraction_too(cut: int) -> None:
    story = [A, B, retraction("b", "a")]
    assert judged(story[:cut], story[cut:]) == (0, ["duplicate_differs"], Decimal(8))
    story = [A, B, NOT_A, retraction("r", "b")]
    assert judged(story[:cut], story[cut:]) == (0, ["duplicate_differs"], Decimal(3))
    story = [A, NOT_A, event("r", "1")]
    assert judged(story[:2], story[2:]) == (0, ["duplicate_differs"], Decimal(0))


def test_an_event_with_several_prices_is_taken_back_whole() -> None:
    world = World().meter("minutes").meter("peak", aggregation="max", property="ports").account().subscription()
    world.price("minute", meter_id="minutes").price("port", tiers((None, "10")), meter_id="peak")
    desk = Desk(world.terms())
    desk.rate(event("a", {"value": "2", "ports": "7"}), event("b", {"value": "3", "ports": "4"}))
    desk.rate(retraction("r", "a"))
    assert desk.total() == Decimal(43)
    taken = desk.postings.filter(event_id="r").select("price_id", "before_quanta", "after_quanta").rows()
    assert taken == [("minute", 5, 3), ("port", 7, 4)]


def test_a_retraction_of_an_event_that_was_too_large_is_refused_with_it() -> None:
    for aggregation in ("sum", "daily_max"):
        desk = Desk(one_price(aggregation=aggregation, steps=tiers((None, "1e17"))).terms())
        one, two, three = (event(name, q, occurred_at=at) for name, q, at in days("400", "200", "300"))
        desk.rate(one, two, retraction("r", "e1"), retraction("s", "e0"), three)
        assert sorted(desk.reasons) == ["quantity_too_large", "unknown_retraction"]
        assert desk.total() == Decimal(300) * 10**17


def days(*quantities: str) -> list[tuple[str, str, datetime]]:
    return [(f"e{n}", quantity, instant(f"2026-10-{n + 1:02d}")) for n, quantity in enumerate(quantities)]


def test_a_price_that_is_gone_keeps_the_event_until_it_is_published_again() -> None:
    desk = Desk(one_price().terms())
    desk.rate(A)
    whole = desk.terms
    desk.terms = World().meter().price("other").account().subscription().terms()
    desk.rate(NOT_A)
    assert desk.reasons == ["unknown_retraction"]
    assert "no longer in the price book" in desk.results[-1].rejects["detail"][0]
    desk.terms = whole
    desk.rate(NOT_A)
    assert desk.total() == 0


def test_positions_stay_in_order() -> None:
    desk = Desk(one_price().share("usage", "0.5").terms())
    rows = desk.rate(A, NOT_A, B, retraction("s", "b")).postings
    assert rows.equals(rows.sort(POSITION_KEY))
    assert rows["corrects"].drop_nulls().len() == 4
    assert rows.filter(pl.col("corrects").is_not_null())["event_id"].unique().sort().to_list() == ["r", "s"]
