"""Destinations: the longest prefix of the number called decides the rate, charged by increments."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.prefixes import build_table, find_prefixes
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event

digits = st.text("01259", min_size=1, max_size=6)
numbers = st.none() | st.text("01259", max_size=20) | st.sampled_from(["+12", "12x", "-12", " 12", "anonymous", "+"])


def by_plain_rule(number: str | None, prefixes: dict[str, int]) -> int | None:
    """All beginnings of the number, the longest first."""
    plain = (number or "").removeprefix("+")
    if not plain.isdecimal():
        return None
    return next((prefixes[plain[:end]] for end in range(len(plain), 0, -1) if plain[:end] in prefixes), None)


@examples(75)
@given(st.lists(digits, unique=True, max_size=20), st.lists(numbers, min_size=1, max_size=20))
def test_the_longest_prefix_is_found_among_all_that_nest(drawn: list[str], called: list[str | None]) -> None:
    prefixes = {prefix: cell for cell, prefix in enumerate(drawn)}
    found = find_prefixes(pl.Series("called", called, pl.String), build_table(prefixes.items()))
    assert found.to_list() == [by_plain_rule(number, prefixes) for number in called]


def test_the_longest_number_and_the_longest_prefix_fit() -> None:
    table = build_table([("9" * 17, 1), ("9", 2)])
    found = find_prefixes(pl.Series(["9" * 17, "9" * 30, "9" * 16, "98"]), table)
    assert found.to_list() == [1, 1, 2, 2]


def calls(rates: dict[str, str], **more: object) -> World:
    """Seconds at a price per minute, 60/6 with a connect fee; the default is 1 a minute."""
    said: Row = {"tier_from": Decimal(0), "package_size": Decimal(6), "per_units": Decimal(60), "flat": Decimal("0.1")}
    rows: list[Row] = [said | {"tier": 0, "unit_price": Decimal(1)}]
    for number, (prefix, rate) in enumerate(rates.items(), start=1):
        rows.append(said | {"tier": number, "unit_price": Decimal(rate), "values": [prefix]})
    world = World().meter(dimensions=["called"]).account().subscription()
    terms: Row = {"model": "matrix", "per": "event", "by": ["called"], "match": "longest_prefix", "minimum_units": Decimal(60)}
    return world.price("usage", rows, own=False, **(terms | more))


def test_a_call_pays_its_destination_s_rate_by_increments() -> None:
    desk = Desk(calls({"49": "0.6", "4915": "1.2", "86": "0.3"}).terms())
    made = [("4930", "1"), ("+491511", "61"), ("8610", "66"), ("33", "67"), ("49", "0")]
    desk.rate(*(event(f"e{i}", {"called": called, "value": seconds}) for i, (called, seconds) in enumerate(made)))
    assert desk.reasons == []
    assert desk.postings.select("tier", "amount").rows() == [
        (1, Decimal("0.7")),
        (2, Decimal("1.42")),
        (3, Decimal("0.43")),
        (0, Decimal("1.3")),
        (1, Decimal(0)),
    ]


def test_a_matrix_and_destinations_stand_beside_each_other() -> None:
    world = calls({"49": "0.6"})
    plain: list[Row] = [
        {"tier": 0, "tier_from": Decimal(0), "unit_price": Decimal(5)},
        {"tier": 1, "tier_from": Decimal(0), "unit_price": Decimal(7), "values": ["4930"]},
    ]
    world.price("exact", plain, own=False, model="matrix", per="event", by=["called"], match="value")
    desk = Desk(world.terms())
    desk.rate(event("a", {"called": "4930", "value": "60"}))
    assert dict(desk.postings.select("price_id", "amount").rows()) == {"usage": Decimal("0.7"), "exact": Decimal(420)}
