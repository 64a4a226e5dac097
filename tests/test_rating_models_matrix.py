"""Matrix: each event at the price of its dimensions' values, or at the default."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.rating_world import Desk, Row, World, event
from tests.test_rating_models import half_up

REGIONS, KINDS = ["cn", "us", "a,b"], ["pstn", "voip"]
Cells = dict[tuple[str, str], Decimal]


def matrix(cells: Cells, default: Decimal, by: tuple[str, ...] = ("region", "kind"), **more: object) -> World:
    rows: list[Row] = [{"tier": 0, "tier_from": Decimal(0), "unit_price": default}]
    for number, (values, price) in enumerate(cells.items(), start=1):
        rows.append({"tier": number, "tier_from": Decimal(0), "unit_price": price, "values": list(values)})
    world = World().meter(dimensions=["region", "kind"], quantity_scale=2).account(partner_id="agent").subscription()
    return world.price("usage", rows, own=False, model="matrix", per="event", by=list(by), match="value", **more)


prices = st.decimals(0, 100, places=16)
values = st.tuples(st.sampled_from(REGIONS), st.sampled_from(KINDS))
used = st.tuples(
    st.none() | st.sampled_from([*REGIONS, "zz"]), st.none() | st.sampled_from(KINDS), st.decimals(0, 99, places=2)
)


@examples(15)
@given(st.dictionaries(values, prices, max_size=6), prices, st.lists(used, min_size=1, max_size=12), st.data())
def test_each_event_costs_the_price_of_its_values_however_cut_and_ordered(
    cells: dict[tuple[str, str], Decimal],
    default: Decimal,
    events: list[tuple[str | None, str | None, Decimal]],
    data: st.DataObject,
) -> None:
    discount = data.draw(st.decimals(0, 1, places=6))
    terms = matrix(cells, default).discount("usage", str(discount)).terms()
    made = [
        event(f"e{number}", {"region": region, "kind": kind, "value": str(quantity)})
        for number, (region, kind, quantity) in enumerate(events)
    ]
    costs = [
        half_up(Fraction(quantity) * Fraction(cells.get((region or "", kind or ""), default)) * (1 - Fraction(discount)))
        for region, kind, quantity in events
    ]
    cut, shuffled = Desk(terms), Desk(terms)
    for start, end in pairwise(sorted({0, len(made), *data.draw(st.lists(st.integers(0, len(made)), max_size=2))})):
        cut.rate(*made[start:end])
    shuffled.rate(*data.draw(st.permutations(made)))
    assert cut.reasons == []
    assert cut.postings["amount"].to_list() == costs
    assert shuffled.total() == sum(costs, Decimal(0))


def test_the_row_that_priced_an_event_is_its_tier_in_the_ledger() -> None:
    desk = Desk(matrix({("cn", "pstn"): Decimal(2), ("us", "pstn"): Decimal(3)}, Decimal(9)).terms())
    desk.rate(
        *(event(f"e{i}", {"region": region, "kind": "pstn", "value": "1"}) for i, region in enumerate(["us", "cn", "zz"]))
    )
    assert desk.postings.select("tier", "amount").rows() == [(2, Decimal(3)), (1, Decimal(2)), (0, Decimal(9))]


def test_two_matrices_and_a_plain_price_charge_one_event_each_by_its_own_rows() -> None:
    world = matrix({("cn", "pstn"): Decimal(2)}, Decimal(9))
    rows: list[Row] = [
        {"tier": 0, "tier_from": Decimal(0), "unit_price": Decimal(5)},
        {"tier": 1, "tier_from": Decimal(0), "unit_price": Decimal(7), "values": ["cn"]},
    ]
    world.price("second", rows, own=False, model="matrix", per="event", by=["region"], match="value").price("third")
    desk = Desk(world.terms())
    desk.rate(event("a", {"region": "cn", "kind": "voip", "value": "1"}))
    assert dict(desk.postings.select("price_id", "amount").rows()) == {
        "usage": Decimal(9),
        "second": Decimal(7),
        "third": Decimal(1),
    }


def test_a_matrix_bounds_and_frees_events_like_any_price_per_event() -> None:
    desk = Desk(matrix({("cn", "pstn"): Decimal(2)}, Decimal(9), maximum=Decimal(10), included_units=Decimal(1)).terms())
    desk.rate(*(event(f"e{i}", {"region": "cn", "kind": "pstn", "value": value}) for i, value in enumerate(["3", "9"])))
    assert desk.postings["amount"].to_list() == [Decimal(4), Decimal(10)]


def test_events_without_the_dimensions_pay_the_default() -> None:
    desk = Desk(matrix({("cn", "pstn"): Decimal(2)}, Decimal(9)).terms())
    desk.rate(event("a", "1"))
    assert desk.postings.select(pl.col("amount").sum()).item() == Decimal(9)


@pytest.mark.parametrize("match", ["value", "longest_prefix"])
@pytest.mark.parametrize("batches", [[2], [1, 1]], ids=["in the same batch", "in a later batch"])
def test_a_retraction_goes_by_the_dimensions_of_the_event_that_it_takes_back(match: str, batches: list[int]) -> None:
    world = World().meter(dimensions=["to"]).account().subscription()
    rows: list[Row] = [{"tier": 0, "tier_from": Decimal(0), "unit_price": Decimal(9)}]
    rows.append({"tier": 1, "tier_from": Decimal(0), "unit_price": Decimal(2), "values": ["86"]})
    world.price("usage", rows, own=False, model="matrix", per="event", by=["to"], match=match)
    desk = Desk(world.terms())
    events = [event("a", {"to": "86", "value": "1"}), event("r", {"to": "49", "value": "7"}, retracts="a")]
    for size in batches:
        desk.rate(*events[:size])
        events = events[size:]
    assert desk.postings.select("tier", "amount").rows() == [(1, Decimal(2)), (1, Decimal(-2))]
