"""Every price model, when events are taken back: what is left is what there would be without them."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.rating_world import Desk, event
from tests.test_rating_models import MODELS, SCALE, aggregate, oracle, prices
from tests.test_rating_models_matrix import KINDS, REGIONS, matrix
from tests.test_rating_models_per_event import Tariff, cost_of_call, tariffs
from tests.test_rating_retract import retraction


@pytest.mark.parametrize("aggregation", ["sum", "count", "max"])
@pytest.mark.parametrize("model", MODELS)
@examples(3, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_period_costs_f_of_what_is_left(model: str, aggregation: str, data: st.DataObject) -> None:
    price = data.draw(prices(model, 0 if aggregation == "count" else SCALE))
    used = data.draw(st.lists(st.decimals(0, 300, places=SCALE), min_size=2, max_size=8))
    gone = data.draw(st.sets(st.integers(0, len(used) - 1), min_size=1, max_size=len(used) - 1))
    events = [event(f"e{number}", str(quantity)) for number, quantity in enumerate(used)]
    story = [*events, *(retraction(f"no-{number}", f"e{number}") for number in sorted(gone))]
    desk = Desk(price.world(aggregation).terms())
    for start, end in pairwise(sorted({0, *data.draw(st.lists(st.integers(0, len(story)), max_size=2)), len(story)})):
        desk.rate(*story[start:end])
    assert desk.reasons == []
    left = [quantity for number, quantity in enumerate(used) if number not in gone]
    assert desk.total() == oracle(price, aggregate(aggregation, left))


@examples(7, suppress_health_check=[HealthCheck.too_slow])
@given(tariffs, st.lists(st.decimals(0, 400, places=1), min_size=1, max_size=8), st.data())
def test_calls_cost_what_is_left_of_them(tariff: Tariff, calls: list[Decimal], data: st.DataObject) -> None:
    """Without an allowance: which events find one open depends on the order of arrival."""
    plain = tariff._replace(included=Decimal(0), free_events=None)
    gone = data.draw(st.sets(st.integers(0, len(calls) - 1)))
    desk = plain.desk()
    desk.rate(*(event(f"e{number}", str(seconds)) for number, seconds in enumerate(calls)))
    desk.rate(*(retraction(f"no-{number}", f"e{number}") for number in sorted(gone)))
    left = [cost_of_call(plain, seconds) for number, seconds in enumerate(calls) if number not in gone]
    assert desk.total() == sum(left, Decimal(0))


@examples(7)
@given(
    st.dictionaries(st.tuples(st.sampled_from(REGIONS), st.sampled_from(KINDS)), st.decimals(0, 100, places=16), max_size=6),
    st.lists(st.tuples(st.sampled_from([*REGIONS, "zz"]), st.sampled_from(KINDS), st.decimals(0, 99, places=2)), min_size=1),
    st.data(),
)
def test_a_matrix_costs_what_is_left(
    cells: dict[tuple[str, str], Decimal], used: list[tuple[str, str, Decimal]], data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.integers(0, len(used) - 1)))
    desk = Desk(matrix(cells, Decimal("0.5")).terms())
    desk.rate(*(event(f"e{n}", {"region": r, "kind": k, "value": str(q)}) for n, (r, k, q) in enumerate(used)))
    desk.rate(*(retraction(f"no-{n}", f"e{n}") for n in sorted(gone)))
    left = [q * cells.get((r, k), Decimal("0.5")) for n, (r, k, q) in enumerate(used) if n not in gone]
    assert desk.total() == sum(left, Decimal(0))
