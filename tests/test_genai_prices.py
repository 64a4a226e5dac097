"""Real price lists with dates and tiers: the language models of `genai-prices`, rated here and by the package itself.

The package chooses the tier of a request by the size of its input, above `start`, and prices *all* tokens of the request at it,
output too. A volume price of ours does the same with the units of one aggregate, which is a subscription's period and not a
request. So a price list by request is written with a dimension: the sender says which size class the request is in.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import pytest
from genai_prices.data import providers
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider, StartDateConstraint, TieredPrices, Usage

from tests.rating_world import Desk, Row, World, event, instant, tiers

ALWAYS = datetime(2020, 1, 1, tzinfo=UTC)
PER_MILLION = Decimal("1e-6")
SIDES = ("input", "output")


class Listed(NamedTuple):
    """One model and its price list by date, oldest first."""

    provider: Provider
    model: ModelInfo
    versions: list[tuple[datetime, ModelPrice]]

    @property
    def name(self) -> str:
        return f"{self.provider.id}/{self.model.id}"

    @property
    def thresholds(self) -> list[int]:
        return sorted({tier.start for _, price in self.versions for side in SIDES for tier in tiers_of(price, side).tiers})

    def size_class(self, input_tokens: int) -> str:
        return str(sum(input_tokens > start for start in self.thresholds))


def tiers_of(price: ModelPrice, side: str) -> TieredPrices:
    found = getattr(price, f"{side}_mtok")
    return found if isinstance(found, TieredPrices) else TieredPrices(base=found, tiers=[])


def dated(prices: ModelPrice | list[ConditionalPrice]) -> list[tuple[datetime, ModelPrice]] | None:
    """The price list by date; None where it also depends on something else, or lacks a side."""
    listed = [ConditionalPrice(prices=prices)] if isinstance(prices, ModelPrice) else prices
    versions = []
    for entry in listed:
        start = ALWAYS
        if isinstance(entry.constraint, StartDateConstraint):
            start = datetime.combine(entry.constraint.start_date, datetime.min.time(), UTC)
        elif entry.constraint is not None:
            return None
        versions.append((start, entry.prices))
    starts = [start for start, _ in versions]
    whole = all(getattr(price, f"{side}_mtok") is not None for _, price in versions for side in SIDES)
    return versions if whole and starts[0] == ALWAYS and starts == sorted(set(starts)) else None


def listed_models() -> list[Listed]:
    """Every model of a few makers whose price has tiers or has changed."""
    found = []
    for provider in providers:
        if provider.id not in {"anthropic", "avian", "fireworks", "google", "openai", "x-ai"}:
            continue
        for model in provider.models:
            versions = dated(model.prices)
            listed = Listed(provider, model, versions or [])
            if versions and (len(versions) > 1 or listed.thresholds):
                found.append(listed)
    return found


def price_at(price: ModelPrice, side: str, thresholds: list[int], size_class: int) -> Decimal:
    """Per token, for requests above the first `size_class` thresholds."""
    found = tiers_of(price, side)
    above = [tier.price for tier in found.tiers if tier.start in thresholds[:size_class]]
    return (above[-1] if above else found.base) * PER_MILLION


def write_book(models: list[Listed]) -> World:
    """One plan with a price per model, side, size class and date."""
    world = World().account(currency="USD").subscription(active_from=ALWAYS)
    for side in SIDES:
        world.meter(side, property=f"{side}_tokens", dimensions=["model", "size"])
    for listed in models:
        ends = [start for start, _ in listed.versions[1:]] + [None]
        for (start, price), end in zip(listed.versions, ends, strict=True):
            for side in SIDES:
                for size_class in range(len(listed.thresholds) + 1):
                    name, version = f"{listed.name}.{side}.{size_class}", start.date().isoformat()
                    unit_price = price_at(price, side, listed.thresholds, size_class)
                    more: Row = {"meter_id": side, "currency": "USD", "price_version": version}
                    world.price(name, tiers((None, str(unit_price))), own=False, valid_from=start, valid_to=end, **more)
                    world.filter(name, "model", listed.name, price_version=version)
                    world.filter(name, "size", str(size_class), price_version=version)
    return world


class Request(NamedTuple):
    listed: Listed
    at: datetime
    input_tokens: int
    output_tokens: int

    def event(self, event_id: str) -> Row:
        data = {"model": self.listed.name, "size": self.listed.size_class(self.input_tokens)}
        tokens = {"input_tokens": str(self.input_tokens), "output_tokens": str(self.output_tokens)}
        return event(event_id, data | tokens, occurred_at=self.at)

    def answer(self) -> dict[str, Decimal]:
        """What the package says."""
        usage = Usage(input_tokens=self.input_tokens, output_tokens=self.output_tokens)
        price = self.listed.model.calc_price(usage, self.listed.provider, genai_request_timestamp=self.at)
        return {"input": price.input_price, "output": price.output_price}


def requests(listed: Listed) -> list[Request]:
    """Requests around every date on which the price changes and every size at which its tier does."""
    moments = [instant("2026-11-20")]
    for start, _ in listed.versions[1:]:
        moments += [start, start - timedelta(microseconds=1)]
    sizes = [1, 1234, 987_654, *(start + more for start in listed.thresholds for more in (0, 1))]
    return [Request(listed, at, size, size // 7 + 1) for at in moments for size in sizes]


@pytest.fixture(scope="module")
def models() -> list[Listed]:
    return listed_models()


def test_there_are_real_prices_with_tiers_and_with_dates(models: list[Listed]) -> None:
    assert sum(bool(listed.thresholds) for listed in models) >= 5
    assert sum(len(listed.versions) > 1 for listed in models) >= 5


def test_every_request_costs_what_the_package_says(models: list[Listed]) -> None:
    asked = [request for listed in models for request in requests(listed)]
    desk = Desk(write_book(models).terms())
    rated = desk.rate(*(request.event(f"r{number}") for number, request in enumerate(asked)))
    assert desk.reasons == []
    rows = rated.postings.select("event_id", "meter_id", "amount").rows()
    costs = {(event_id, side): amount for event_id, side, amount in rows}
    assert len(costs) == len(rows) == 2 * len(asked)
    for number, request in enumerate(asked):
        assert {side: costs[f"r{number}", side] for side in SIDES} == request.answer(), request


def test_a_month_of_requests_adds_up_to_the_last_digit(models: list[Listed]) -> None:
    asked = [request for listed in models for request in requests(listed)]
    desk = Desk(write_book(models).terms())
    for start in range(0, len(asked), 500):
        desk.rate(*(request.event(f"r{start + n}") for n, request in enumerate(asked[start : start + 500])))
    assert desk.total() == sum((sum(request.answer().values()) for request in asked), Decimal(0))


def test_a_volume_price_agrees_for_one_request_and_differs_for_a_period_of_them(models: list[Listed]) -> None:
    listed = next(listed for listed in models if len(listed.thresholds) == 1)
    at, (_, price) = instant("2026-11-20"), listed.versions[-1]
    start, fee = listed.thresholds[0], tiers_of(price, "input")
    bands = tiers((str(start), str(fee.base * PER_MILLION)), (None, str(fee.tiers[0].price * PER_MILLION)))
    world = World().meter(property="input_tokens").price("usage", bands, model="volume").account().subscription()

    for size in (1, start, start + 1):
        desk, request = Desk(world.terms()), Request(listed, at, size, 0)
        desk.rate(request.event("r"))
        assert desk.total() == request.answer()["input"]

    twice = Desk(world.terms())
    small = Request(listed, at, start, 0)
    twice.rate(small.event("r1"), small.event("r2"))
    assert twice.total() == 2 * start * fee.tiers[0].price * PER_MILLION != 2 * small.answer()["input"]
