"""What partners are due: percentages, tiers and amounts per unit, of the revenue or the margin, however the usage comes."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.recurring import post_fees
from rating.zero_usage import post_zero_usage
from schemas.errors import BrokenPromise
from schemas.ledger import AGGREGATE_KEY, POSTINGS
from schemas.period import Period
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, instant, one_price, tiers
from tests.test_rating_costs import assert_chains

OCTOBER = Period(2026, 10)
STEPS = tiers(("10", "0.7"), (None, "0.333333333333333333"))
COSTS = tiers(("7", "0.123456789012345678"), (None, "0.9"))
PARTS: list[tuple[str | None, str]] = [("3.5", "0.1"), ("8", "0.333333"), (None, "0.0001")]


def half_up(amount: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = 80
        return amount.quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP)


def graduated(units: int, steps: list[Row]) -> Decimal:
    first, last = steps
    edge = first["tier_to"]
    assert isinstance(edge, Decimal)
    return min(Decimal(units), edge) * first["unit_price"] + max(units - edge, Decimal(0)) * last["unit_price"]  # type: ignore[operator]


def in_tiers(money: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = 80
        parts = (min(money, Decimal("3.5")), min(max(money - Decimal("3.5"), Decimal(0)), Decimal("4.5")), money - 8)
        return half_up(
            parts[0] * Decimal("0.1") + parts[1] * Decimal("0.333333") + max(parts[2], Decimal(0)) * Decimal("0.0001")
        )


def world(kind: str) -> World:
    made = one_price("graduated", STEPS, scale=0).cost("telco", COSTS, model="graduated")
    if kind == "per_unit":
        return made.share("usage", None, per_unit=Decimal("0.000000000000000007"))
    if kind == "tiers":
        return made.share("usage", PARTS)
    return made.share("usage", "0.333333", of="margin" if kind == "margin" else "gross")


def due(kind: str, units: int) -> Decimal:
    """The oracle: what the partner is due of one aggregate."""
    with localcontext() as context:
        context.prec = 80
        revenue, cost = graduated(units, STEPS), graduated(units, COSTS)
        part = Decimal("0.333333")
        return {
            "gross": lambda: half_up(revenue * part),
            "margin": lambda: half_up(revenue * part) - half_up(cost * part),
            "tiers": lambda: in_tiers(revenue),
            "per_unit": lambda: units * Decimal("0.000000000000000007"),
        }[kind]()


@pytest.mark.parametrize("kind", ["gross", "margin", "tiers", "per_unit"])
@examples(7)
@given(
    usage=st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=8),
    cuts=st.sets(st.integers(1, 9)),
    order=st.randoms(),
)
def test_the_shares_of_an_aggregate_add_up_to_what_the_agreement_says_of_it(
    kind: str, usage: list[tuple[int, bool]], cuts: set[int], order: object
) -> None:
    """Whatever the batches, the order of arrival and what is taken back."""
    events = [event(f"e{n}", str(units)) for n, (units, _) in enumerate(usage)]
    order.shuffle(events)  # type: ignore[attr-defined]
    events += [event(f"back{n}", "0", retracts=f"e{n}") for n, (_, back) in enumerate(usage) if back]
    desk = Desk(world(kind).terms())
    ends = sorted({cut for cut in cuts if cut < len(events)} | {len(events)})
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        desk.rate(*events[start:end])
    assert desk.reasons == []
    left = sum(units for units, back in usage if not back)
    assert desk.total("revenue") == graduated(left, STEPS)
    assert desk.total("cost") == graduated(left, COSTS)
    assert desk.total("share") == due(kind, left)
    assert_chains(desk)


def shares(desk: Desk) -> list[tuple[object, ...]]:
    return desk.postings.filter(role="share").select("event_id", "price_id", "amount").rows()


def test_a_share_of_the_margin_is_a_row_beside_the_price_and_one_beside_the_cost() -> None:
    desk = Desk(one_price().cost("telco", tiers((None, "0.4"))).share("usage", "0.5", of="margin").terms())
    desk.rate(event("x", "10"))
    rows = desk.postings.select("role", "price_id", "partner_id", "amount", "stream_row").rows()
    assert rows == [
        ("cost", "telco", "telco", Decimal(4), 0),
        ("share", "telco", "agent", Decimal(-2), 1),
        ("revenue", "usage", None, Decimal(10), 2),
        ("share", "usage", "agent", Decimal(5), 3),
    ]


def test_an_event_that_costs_more_than_it_earns_makes_a_negative_share() -> None:
    desk = Desk(one_price().cost("telco", tiers((None, "3"))).share("usage", "0.25", of="margin").terms())
    desk.rate(event("x", "2"))
    assert desk.total("share") == Decimal(-1)


def test_a_share_of_the_gross_revenue_knows_no_cost() -> None:
    desk = Desk(one_price().cost("telco", tiers((None, "3"))).share("usage", "0.25").terms())
    desk.rate(event("x", "2"))
    assert shares(desk) == [("x", "usage", Decimal("0.5"))]


def test_a_cost_in_another_currency_is_not_taken_off() -> None:
    made = one_price().cost("usd", tiers((None, "3")), currency="USD").cost("cny", tiers((None, "0.4")))
    desk = Desk(made.share("usage", "0.5", of="margin").terms())
    desk.rate(event("x", "10"))
    assert shares(desk) == [("x", "cny", Decimal(-2)), ("x", "usage", Decimal(5))]


def test_a_cost_is_taken_off_once_however_many_prices_charge_the_event() -> None:
    """Of two agreements on the margin that of the first price counts; revenue is shared by each."""
    made = one_price().price("base", tiers((None, "2"))).cost("telco", tiers((None, "1")))
    made.share("usage", "0.5", of="margin").share("base", "0.1", of="margin")
    desk = Desk(made.terms())
    desk.rate(event("x", "10"))
    assert shares(desk) == [("x", "base", Decimal(2)), ("x", "telco", Decimal(-1)), ("x", "usage", Decimal(5))]


def test_a_cost_is_taken_off_where_the_price_that_charges_the_event_has_such_an_agreement() -> None:
    made = World().meter(dimensions=["route"]).account(partner_id="agent").subscription()
    made.price("near").price("far").filter("near", "route", "n").filter("far", "route", "f")
    made.cost("telco", tiers((None, "0.5"))).share("near", "0.5", of="margin").share("far", "0.5")
    desk = Desk(made.terms())
    desk.rate(event("x", {"value": "4", "route": "n"}), event("y", {"value": "4", "route": "f"}))
    assert shares(desk) == [("x", "near", Decimal(2)), ("x", "telco", Decimal(-1)), ("y", "far", Decimal(2))]


def test_an_agreement_on_the_margin_ends_for_costs_too() -> None:
    made = one_price().cost("telco", tiers((None, "0.5"))).share("usage", "0.5", of="margin", valid_to=instant("2026-10-16"))
    desk = Desk(made.terms())
    desk.rate(event("x"), event("y", occurred_at=instant("2026-10-16")))
    assert {name for name, *_ in shares(desk)} == {"x"}


def test_tiers_of_a_price_per_event_are_of_each_events_own_revenue_also_when_it_is_taken_back() -> None:
    desk = Desk(one_price(per="event").share("usage", [("10", "0.5"), (None, "0.1")]).terms())
    desk.rate(event("x", "12"), event("y", "12"), event("back", "0", retracts="x"))
    assert shares(desk) == [(name, "usage", Decimal(amount)) for name, amount in (("x", "5.2"), ("y", "5.2"), ("back", "-5.2"))]


def test_an_amount_per_unit_counts_free_units_and_fractions_and_no_discount() -> None:
    made = one_price(scale=3, included_units=Decimal(100)).share("usage", None, per_unit=Decimal("0.04"))
    desk = Desk(made.discount("usage", "0.5").terms())
    desk.rate(event("x", "50.25"), event("y", "100"))
    assert desk.total("revenue") == Decimal("25.125")
    assert shares(desk) == [("x", "usage", Decimal("2.01")), ("y", "usage", Decimal(4))]


def test_a_total_whose_amount_per_unit_would_not_be_exact_refuses_the_event() -> None:
    desk = Desk(one_price().share("usage", None, per_unit=Decimal("1e11")).terms())
    desk.rate(event("x", "400000000"), event("y", "400000000"))
    assert desk.reasons == ["quantity_too_large"]
    assert desk.total("share") == Decimal("4e19")


def test_fees_are_shared_by_percentage_of_gross_or_margin_and_by_tiers() -> None:
    for share, more, expected in [
        ("0.2", {}, "62"),
        ("0.2", {"of": "margin"}, "62"),
        ([("100", "0.5"), (None, "0.1")], {}, "71"),
    ]:
        made = one_price("flat", tiers((None, "310")), charge="recurring", meter_id=None, interval="month")
        posted = post_fees(OCTOBER, made.share("usage", share, **more).terms(), POSTINGS.empty(), OCTOBER)  # type: ignore[arg-type]
        assert set(posted.filter(role="share")["amount"]) == {Decimal(expected)}


def test_a_fee_at_zero_usage_has_no_units_to_share() -> None:
    made = one_price("graduated", tiers((None, "1", "5")), flat_at_zero=True)
    made.share("usage", None, per_unit=Decimal("0.3"))
    keys = POSTINGS.empty().select(AGGREGATE_KEY)
    posted = post_zero_usage(OCTOBER, made.terms(), keys, POSTINGS.empty())
    assert posted.select("role", "amount").rows() == [("revenue", Decimal(5)), ("share", Decimal(0))]


@pytest.mark.parametrize(
    ("share", "per_unit"),
    [(None, None), ("0.1", "0.1"), ("0.1234567", None), (None, "0.000000000000000001"), ([("1e-13", "0.1")], None)],
)
def test_an_agreement_that_cannot_be_computed_exactly_is_refused(
    share: str | list[tuple[str | None, str]] | None, per_unit: str | None
) -> None:
    made = one_price(scale=3).share("usage", share, per_unit=None if per_unit is None else Decimal(per_unit))
    with pytest.raises(BrokenPromise):
        made.terms()
