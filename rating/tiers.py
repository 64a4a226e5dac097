"""The one form every price is brought to before it rates: steps of a function f from quanta to money.

    f(q) = base + unit_price x units      in the step with  from < q <= to
    units = q - from                      or, for packages, ceil((q - from) / package)
    f(q) = at_zero for q = 0

Quanta are integers, money is an integer at scale 18, so f is exact. Each price model has a file of its own that lowers its
TIERS to these steps; `lower_prices` calls it, adds what any price may have, in the order of a reader of the price:

    model      the tiers
    of a period                                  of each event (per_event.py)
    included   units before the first tier       minimum_units      charged at least
    cap        the most that it costs            minimum, maximum   the least and the most that it costs

and works out how far the price can be followed before |f| would leave 128 bits. A discount comes after all of it (kernel.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import lcm
from typing import NamedTuple

import polars as pl

from rating.bounds import cap_steps, charge_at_least, include_units, raise_steps
from rating.flat import lower_flat
from rating.graduated import lower_graduated
from rating.package import lower_package
from rating.per_unit import lower_per_unit
from rating.rated_time import lower_rated_time
from rating.stair_step import lower_stair_step
from rating.steps import PriceTerms, Step, Tier
from rating.volume import lower_volume
from schemas.errors import BrokenPromise
from schemas.frames import FrameSchema
from schemas.money import AMOUNT_LIMIT, AMOUNT_SCALE

MODELS: Mapping[str, Callable[[PriceTerms], list[Step]]] = {
    "per_unit": lower_per_unit,
    "percentage": lower_per_unit,
    "multiplier": lower_per_unit,
    "graduated": lower_graduated,
    "graduated_percentage": lower_graduated,
    "volume": lower_volume,
    "stair_step": lower_stair_step,
    "package": lower_package,
    "rated_time": lower_rated_time,
    "flat": lower_flat,
}
"""Price model -> the function that lowers its terms to steps."""

MAX_QUANTA = 2**63 - 1
PRICE_LIMIT = AMOUNT_LIMIT // 2
"""|f| stays below this, so that a difference of two values of f stays below AMOUNT_LIMIT."""

STEPS = FrameSchema(
    "STEPS",
    {
        "price": pl.UInt32,  # row of LOWERED
        "tier": pl.Int32,  # tier of the price book the step belongs to
        "from_quanta": pl.Int64,  # excluded
        "base": pl.Int128,  # scale 18
        "unit_price": pl.Int128,  # scale 18, per quantum or per package
        "package_quanta": pl.Int64,  # 1 unless the price is by package
    },
)
"""One row per price version and step, ordered by (price, from_quanta)."""

LOWERED = FrameSchema(
    "LOWERED",
    {
        "price": pl.UInt32,  # 0, 1, 2 ...
        "price_id": pl.String,
        "price_version": pl.String,
        "at_zero": pl.Int128,  # f(0): the first tier's flat fee if the plan asks for it, otherwise 0
        "max_quanta": pl.Int64,  # the largest aggregate this price can rate exactly
    },
)
"""One row per price version."""


EVENT_PRICES = FrameSchema(
    "EVENT_PRICES",
    {
        "price": pl.UInt32,  # row of LOWERED
        "free_events": pl.Int64,  # null: no free events
        "free_quanta": pl.Int64,  # null: no free quantity
        "divisor": pl.Int128,  # f in steps is so many times the amount in `unit`
        "unit": pl.Int128,  # what the amount is a whole number of, scale 18
        "round_up": pl.Boolean,  # otherwise half-up
    },
)
"""One row per price version that prices each event by itself (rating/per_event.py)."""


class LoweredPrices(NamedTuple):
    prices: pl.DataFrame
    steps: pl.DataFrame
    event_prices: pl.DataFrame


class _Said(NamedTuple):
    """One row of PRICES as plain values; money and units are integers at scale 18."""

    price_id: str
    price_version: str
    model: str
    quantity_scale: int
    per: str | None
    included_units: int | None
    free_events: int | None
    cap: int | None
    minimum: int | None
    maximum: int | None
    minimum_units: int | None
    round_places: int | None
    round_method: str | None
    flat_at_zero: bool

    def __str__(self) -> str:
        return f"price {self.price_id} version {self.price_version}"


_MONEY_AND_UNITS = ("included_units", "cap", "minimum", "maximum", "minimum_units")


def lower_prices(prices: pl.DataFrame, tiers: pl.DataFrame) -> LoweredPrices:
    """Bring every price version to steps.

    Args:
        prices: PRICES with `quantity_scale` of their meter (0 for recurring).
        tiers: TIERS of these prices.

    Returns:
        LOWERED, STEPS and EVENT_PRICES.

    Raises:
        BrokenPromise: A price version has no tiers, an unknown model, or more decimals than its meter's scale leaves room for.
    """
    tiers_of = _tiers_by_price(tiers)
    lowered: list[tuple[int, str, str, int, int]] = []
    steps: list[tuple[int, int, int, int, int, int]] = []
    event_prices: list[tuple[int, int | None, int | None, int, int, bool]] = []
    plain = prices.with_columns(pl.col(_MONEY_AND_UNITS).to_physical()).select(_Said._fields)
    for slot, said in enumerate(map(_Said._make, plain.iter_rows())):
        terms = _terms_of(said, tiers_of)
        included = _quanta(str(said), said.included_units or 0, said.quantity_scale)
        if said.per == "event":
            at_zero, whole = 0, _event_steps(said, terms)
            event_prices.append((slot, *_event_price(said, terms.divisor)))
        else:
            at_zero, whole = _period_steps(said, terms, included)
        reachable, max_quanta = cut_at_limit(whole)
        max_quanta = max_quanta if terms.last_quanta is None else min(max_quanta, terms.last_quanta + included)
        lowered.append((slot, said.price_id, said.price_version, at_zero, max_quanta))
        steps += [(slot, *step) for step in reachable]
    return LoweredPrices(
        pl.DataFrame(lowered, schema=dict(LOWERED.columns), orient="row"),
        pl.DataFrame(steps, schema=dict(STEPS.columns), orient="row"),
        pl.DataFrame(event_prices, schema=dict(EVENT_PRICES.columns), orient="row"),
    )


def _terms_of(said: _Said, tiers_of: Mapping[tuple[str, str], list[_Written]]) -> PriceTerms:
    found = tiers_of.get((said.price_id, said.price_version))
    if found is None:
        raise BrokenPromise(f"{said} has no tiers")
    if said.model not in MODELS:
        raise BrokenPromise(f"{said} has the unknown model '{said.model}'")
    if said.model == "package" and found[0].package_size is None:
        raise BrokenPromise(f"{said} needs a package size")
    return _read_terms(str(said), said.quantity_scale, found)


def _period_steps(said: _Said, terms: PriceTerms, included: int) -> tuple[int, list[Step]]:
    """f(0) and f of the period's aggregate."""
    if terms.divisor != 1:
        raise BrokenPromise(f"{said}: a rate is for prices per event")
    flat = terms.tiers[0].flat
    at_zero = flat if said.flat_at_zero and abs(flat) < PRICE_LIMIT else 0
    at_zero = at_zero if said.cap is None else min(at_zero, said.cap)
    return at_zero, cap_steps(include_units(MODELS[said.model](terms), included, at_zero), said.cap)


def _event_steps(said: _Said, terms: PriceTerms) -> list[Step]:
    """f of an event's own quantity, `divisor` times the amount."""
    least = _quanta(str(said), said.minimum_units or 0, said.quantity_scale)
    steps = charge_at_least(MODELS[said.model](terms), least)
    minimum, maximum = (None if bound is None else bound * terms.divisor for bound in (said.minimum, said.maximum))
    return cap_steps(raise_steps(steps, minimum), maximum)


def _event_price(said: _Said, divisor: int) -> tuple[int | None, int | None, int, int, bool]:
    """EVENT_PRICES without `price`."""
    unit = int(10 ** (AMOUNT_SCALE - (AMOUNT_SCALE if said.round_places is None else said.round_places)))
    free = _quanta(str(said), said.included_units or 0, said.quantity_scale) or None
    return said.free_events, free, divisor * unit, unit, said.round_method == "up"


def cut_at_limit(steps: Sequence[Step]) -> tuple[list[Step], int]:
    """The steps that can be reached, and the largest quantity with |f| < PRICE_LIMIT everywhere up to it.

    A step whose beginning lies beyond the limit is left out: nothing is ever rated by it, so its numbers need not fit.
    """
    reachable: list[Step] = []
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        end = MAX_QUANTA if following is None else min(following.from_quanta, MAX_QUANTA)
        room = PRICE_LIMIT - 1 - abs(step.base)
        if room < 0 or abs(step.unit_price) >= PRICE_LIMIT:
            return reachable or [step._replace(base=0, unit_price=0)], step.from_quanta
        reachable.append(step)
        units = room // abs(step.unit_price) if step.unit_price else MAX_QUANTA
        furthest = step.from_quanta + units * step.package_quanta
        if furthest < end:
            return reachable, furthest
        if end == MAX_QUANTA:
            break
    return reachable, MAX_QUANTA


class _Written(NamedTuple):
    """One row of TIERS as plain integers at scale 18."""

    tier: int
    tier_from: int
    tier_to: int | None
    unit_price: int
    flat: int
    package_size: int | None
    per_units: int | None


def _tiers_by_price(tiers: pl.DataFrame) -> dict[tuple[str, str], list[_Written]]:
    """TIERS in tier order, by price version."""
    amounts = pl.col("tier_from", "tier_to", "unit_price", "flat", "package_size", "per_units").to_physical()
    ordered = tiers.sort("price_id", "price_version", "tier").with_columns(pl.col("flat").fill_null(0)).with_columns(amounts)
    found: dict[tuple[str, str], list[_Written]] = {}
    for name, version, *tier in ordered.select("price_id", "price_version", *_Written._fields).iter_rows():
        found.setdefault((name, version), []).append(_Written(*tier))
    return found


def _read_terms(where: str, scale: int, tiers: Sequence[_Written]) -> PriceTerms:
    """Decimals at scale 18 -> whole quanta and money per quantum, both without remainder."""
    last = tiers[-1].tier_to
    divisor = lcm(*(_quanta(where, tier.per_units, scale) for tier in tiers if tier.per_units))
    return PriceTerms(
        tiers=[_read_tier(where, scale, tier, divisor) for tier in tiers],
        last_quanta=None if last is None else _quanta(where, last, scale),
        divisor=divisor,
    )


def _read_tier(where: str, scale: int, tier: _Written, divisor: int) -> Tier:
    """Prices and fees are `divisor` times what they are."""
    start, flat = _quanta(where, tier.tier_from, scale), tier.flat * divisor
    if tier.package_size is not None:
        package_quanta = _quanta(where, tier.package_size, scale)
        if package_quanta <= 0:
            raise BrokenPromise(f"{where}: a package needs a size above zero")
        price = tier.unit_price * divisor
        if tier.per_units is not None:
            price = price * package_quanta // _quanta(where, tier.per_units, scale)
        return Tier(tier.tier, start, price, flat, package_quanta)
    if tier.per_units is not None:
        raise BrokenPromise(f"{where}: a rate without an increment")
    unit_price, rest = divmod(tier.unit_price, 10**scale)
    if rest:
        raise BrokenPromise(f"{where}: a unit price has more than {AMOUNT_SCALE - scale} decimals")
    return Tier(tier.tier, start, unit_price * divisor, flat)


def _quanta(where: str, units: int, scale: int) -> int:
    """Units at scale 18 -> whole quanta."""
    whole, rest = divmod(units, int(10 ** (AMOUNT_SCALE - scale)))
    if rest:
        raise BrokenPromise(f"{where}: a quantity in its tiers is finer than the meter's {scale} decimals")
    return whole
