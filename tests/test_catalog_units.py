"""Prices in other units than the meter counts: divided, rounded as the plan says, then priced."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from catalog.entries import TermsEntry
from catalog.models import Metered
from catalog.problems import Place, Problems, Source
from catalog.terms import check_terms
from tests.examples import examples
from tests.rating_world import Desk, World, event
from tests.test_rating_models import MODELS, Band, Price, oracle

SCALE = 1


class Anywhere:
    """A source in which everything stands at 1:1."""

    path = "here"

    def locate(self, *_: object, **__: object) -> tuple[int, int]:
        return 1, 1

    def label(self, steps: list[object]) -> str:
        return ".".join(map(str, steps))


def said(terms: dict[str, Any], scale: int = SCALE) -> World:
    """A world with one price that says these terms, as a pricing owner writes them."""
    metered, problems = Metered(scale, "unit", "sum", [], "CNY"), Problems()
    lowered = check_terms(TermsEntry.model_validate(terms), "usage", metered, Place(cast(Source, Anywhere())), problems)
    assert lowered is not None, problems.found
    columns: dict[str, Any] = lowered.columns
    world = World().meter(quantity_scale=scale).price("usage", lowered.tiers, **columns)
    return world.account().subscription()


def written(price: Price, per: Decimal, rounding: str | None) -> dict[str, Any]:
    tiers = [
        {"up_to": None if band.up_to is None else str(band.up_to), "flat": str(band.flat)}
        | ({"unit_price": str(band.price)} if price.model != "stair_step" else {})
        for band in price.bands
    ]
    terms: dict[str, Any] = {"model": price.model, "included": str(price.included)}
    if price.model == "per_unit":
        terms |= {"unit_price": str(price.bands[0].price)}
    elif price.model == "package":
        terms |= {"package_size": str(price.bands[0].package_size), "price": str(price.bands[0].price)}
    else:
        terms |= {"tiers": tiers, "flat_at_zero": str(price.flat_at_zero).lower()}
    return terms | {"units": {"per": str(per)} | ({} if rounding is None else {"round": rounding})}


def rounded(units: Fraction, rounding: str | None) -> Fraction:
    if rounding is None:
        return units
    return Fraction({"up": -(-units // 1), "down": units // 1, "half_up": (2 * units + 1) // 2}[rounding])


@st.composite
def prices(draw: st.DrawFn, model: str) -> Price:
    """Prices whose bounds are whole converted units."""
    bounds = sorted(draw(st.sets(st.integers(1, 20), max_size=2 if model in {"graduated", "volume", "stair_step"} else 0)))
    money = st.decimals(0, 100, places=2)
    bands = []
    for up_to in [*map(Decimal, bounds), None]:
        size = Decimal(draw(st.integers(1, 5))) if model == "package" else None
        flat = draw(money) if model in {"graduated", "volume", "stair_step"} else Decimal(0)
        bands.append(Band(up_to, Decimal(0) if model == "stair_step" else draw(money), size, flat))
    at_zero = model in {"graduated", "volume", "stair_step"} and draw(st.booleans())
    return Price(model, bands, Decimal(draw(st.integers(0, 5))), None, at_zero, Decimal(0), Decimal(0))


@pytest.mark.parametrize("rounding", [None, "up", "down", "half_up"])
@pytest.mark.parametrize("model", MODELS)
@examples(4, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_converted_total_is_priced(model: str, rounding: str | None, data: st.DataObject) -> None:
    price = data.draw(prices(model))
    per = data.draw(st.sampled_from([Decimal(text) for text in ("0.1", "0.5", "1", "2", "2.5", "1000")]))
    used = data.draw(st.lists(st.decimals(0, 30, places=SCALE), min_size=1, max_size=6))
    used = [Decimal(round(quantity * per, SCALE)) for quantity in used]
    events = [event(f"e{number}", str(quantity)) for number, quantity in enumerate(used)]
    desk = Desk(said(written(price, per, rounding)).terms())
    for start, end in pairwise(sorted({0, *data.draw(st.lists(st.integers(0, len(events)), max_size=2)), len(events)})):
        desk.rate(*events[start:end])
    assert desk.reasons == []
    units = rounded(Fraction(sum(used, Decimal(0))) / Fraction(per), rounding)
    assert desk.total() == oracle(price, cast(Decimal, units))


@pytest.mark.parametrize(
    ("terms", "said_of_it"),
    [
        ({"units": {"per": "0"}}, "is 0; write how many of the meter's units make one"),
        ({"units": {"per": "0.05"}}, "has 2 decimals; the meter counts 1"),
        ({"units": {"per": "3"}}, "1 / 3 is no price of at most 17 decimals; say how the units are rounded"),
        ({"units": {"per": "10", "round": "up"}, "included": "1.5"}, "1.5 is no whole number, but the units are rounded"),
        ({"units": {"per": "0.1"}, "included": "0.5"}, "0.5 x 0.1 has more decimals than the 1 of the meter"),
        ({"units": {"per": "1000"}, "included": "1000000000000000"}, "is too large; this meter counts up to"),
        ({"units": {"per": "10"}, "per": "event"}, "is of a whole period, but this price is of each event"),
    ],
)
def test_units_that_cannot_be_exact_are_refused(terms: dict[str, Any], said_of_it: str) -> None:
    problems, metered = Problems(), Metered(SCALE, "unit", "sum", [], "CNY")
    entry = TermsEntry.model_validate({"model": "per_unit", "unit_price": "1"} | terms)
    assert check_terms(entry, "usage", metered, Place(cast(Source, Anywhere())), problems) is None
    assert any(said_of_it in text for *_, text in problems.found), problems.found


@pytest.mark.parametrize(
    ("aggregation", "terms", "said_of_it"),
    [
        ("max", {}, "prices a level, so the meter must be a time_average or average_of_changes, not max"),
        ("unit_days", {}, "prices a level, so the meter must be a time_average or average_of_changes, not unit_days"),
        ("time_average", {"cap": "5"}, "is of a whole period, but this price is of a level; remove it"),
        ("time_average", {"units": {"per": "10"}}, "is of a whole period, but this price is of a level; remove it"),
        ("time_average", {"fixed": "5"}, "is of each event, but this price is of"),
        (
            "time_average",
            {"model": "package", "unit_price": None, "package_size": "5", "price": "1"},
            "a level is priced by per_unit, graduated, volume, not by package",
        ),
    ],
)
def test_a_price_of_a_level_that_cannot_be_is_refused(aggregation: str, terms: dict[str, Any], said_of_it: str) -> None:
    problems, metered = Problems(), Metered(SCALE, "unit", aggregation, [], "CNY")
    wanted = {"model": "per_unit", "unit_price": "1", "per": "level"} | terms
    entry = TermsEntry.model_validate({name: value for name, value in wanted.items() if value is not None})
    assert check_terms(entry, "usage", metered, Place(cast(Source, Anywhere())), problems) is None
    assert any(said_of_it in text for *_, text in problems.found), problems.found
