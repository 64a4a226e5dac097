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
from typing import NamedTuple

import polars as pl

from rating.bounds import cap_steps, charge_at_least, include_units, raise_steps
from rating.flat import lower_flat
from rating.graduated import lower_graduated
from rating.package import lower_package
from rating.per_unit import lower_per_unit
from rating.rated_time import lower_rated_time
from rating.said import MONEY_AND_UNITS, Said, TierSaid, read_terms, read_tiers, whole_quanta
from rating.stair_step import lower_stair_step
from rating.steps import PriceTerms, Step
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
    "capacity": lower_stair_step,
    "package": lower_package,
    "rated_time": lower_rated_time,
    "matrix": lower_graduated,
    "dynamic": lower_per_unit,
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


CELLS = FrameSchema(
    "CELLS",
    {
        "price": pl.UInt32,  # row of LOWERED
        "by": pl.List(pl.String),  # dimensions
        "match": pl.String,  # value | longest_prefix
        "values": pl.List(pl.String),  # of those dimensions
        "cell": pl.UInt32,  # the `price` of STEPS that rates events with these values
    },
)
"""One row per row of a matrix but the default, which is rated by the steps of the price itself (rating/matrix.py)."""


DYNAMIC = FrameSchema(
    "DYNAMIC",
    {
        "price": pl.UInt32,  # row of LOWERED
        "by_unit": pl.Boolean,  # the event brings the price of a unit; otherwise the amount of the whole event
        "decimals": pl.Int8,  # that it may have
        "minimum": pl.Int128,  # of each event, scale 18; null: no limit
        "maximum": pl.Int128,
    },
)
"""One row per price version whose price comes with the event (rating/dynamic.py)."""


LevelSteps = tuple[list[Step], list[Step]]
"""Of a price of a level (rating/level_prices.py): what the level costs without flat fees, and the flat fees alone."""


class LoweredPrices(NamedTuple):
    prices: pl.DataFrame
    steps: pl.DataFrame
    event_prices: pl.DataFrame
    cells: pl.DataFrame
    dynamic: pl.DataFrame
    levels: dict[int, LevelSteps]


def lower_prices(prices: pl.DataFrame, tiers: pl.DataFrame) -> LoweredPrices:
    """Bring every price version to steps.

    Args:
        prices: PRICES with `quantity_scale` of their meter (0 for recurring).
        tiers: TIERS of these prices.

    Returns:
        LOWERED, STEPS, EVENT_PRICES, CELLS and DYNAMIC; LevelSteps by row of LOWERED.

    Raises:
        BrokenPromise: A price version has no tiers, an unknown model, or more decimals than its meter's scale leaves room for.
    """
    tiers_of = read_tiers(tiers)
    lowered: list[tuple[int, str, str, int, int]] = []
    steps: list[tuple[int, int, int, int, int, int]] = []
    event_prices: list[tuple[int, int | None, int | None, int, int, bool]] = []
    cells: list[tuple[int, list[str], str, list[str], int]] = []
    dynamic: list[tuple[int, bool, int, int | None, int | None]] = []
    levels: dict[int, LevelSteps] = {}
    plain = prices.with_columns(pl.col(MONEY_AND_UNITS).to_physical()).select(Said._fields)
    for slot, said in enumerate(map(Said._make, plain.iter_rows())):
        terms = _terms_of(said, tiers_of)
        included = whole_quanta(str(said), said.included_units or 0, said.quantity_scale)
        if said.model == "dynamic":
            dynamic.append(_dynamic_price(slot, said))
            said = said._replace(minimum=None, maximum=None)
        if said.per == "level":
            levels[slot] = _level_steps(said, terms, included)
        if said.per == "event":
            at_zero, whole = 0, _event_steps(said, terms if said.by is None else terms._replace(tiers=terms.tiers[:1]))
            event_prices.append((slot, *_event_price(said, terms.divisor)))
        else:
            at_zero, whole = _period_steps(said, terms, included)
        reachable, max_quanta = cut_at_limit(whole)
        for tier in terms.tiers[1:] if said.by is not None else ():
            cell = prices.height + len(cells)
            listed, limit = cut_at_limit(_event_steps(said, terms._replace(tiers=[tier])))
            values = tiers_of[said.price_id, said.price_version][tier.tier].values
            cells.append((slot, list(said.by or ()), said.match or "value", values, cell))
            steps += [(cell, *step) for step in listed]
            max_quanta = min(max_quanta, limit)
        max_quanta = max_quanta if terms.last_quanta is None else min(max_quanta, terms.last_quanta + included)
        lowered.append((slot, said.price_id, said.price_version, at_zero, max_quanta))
        steps += [(slot, *step) for step in reachable]
    return LoweredPrices(
        pl.DataFrame(lowered, schema=dict(LOWERED.columns), orient="row"),
        pl.DataFrame(steps, schema=dict(STEPS.columns), orient="row").sort("price", "from_quanta", maintain_order=True),
        pl.DataFrame(event_prices, schema=dict(EVENT_PRICES.columns), orient="row"),
        pl.DataFrame(cells, schema=dict(CELLS.columns), orient="row"),
        pl.DataFrame(dynamic, schema=dict(DYNAMIC.columns), orient="row"),
        levels,
    )


def _level_steps(said: Said, terms: PriceTerms, included: int) -> LevelSteps:
    """The same tiers once without flat fees and once with nothing but them."""
    lower = MODELS[said.model]
    units = lower(terms._replace(tiers=[tier._replace(flat=0) for tier in terms.tiers]))
    flats = lower(terms._replace(tiers=[tier._replace(unit_price=0) for tier in terms.tiers]))
    return include_units(units, included, 0), include_units(flats, included, 0)


def _dynamic_price(slot: int, said: Said) -> tuple[int, bool, int, int | None, int | None]:
    """DYNAMIC. A unit price is read per quantum."""
    by_unit = said.takes == "unit_price"
    return slot, by_unit, AMOUNT_SCALE - said.quantity_scale if by_unit else AMOUNT_SCALE, said.minimum, said.maximum


def _terms_of(said: Said, tiers_of: Mapping[tuple[str, str], list[TierSaid]]) -> PriceTerms:
    found = tiers_of.get((said.price_id, said.price_version))
    if found is None:
        raise BrokenPromise(f"{said} has no tiers")
    if said.model not in MODELS:
        raise BrokenPromise(f"{said} has the unknown model '{said.model}'")
    if said.model == "package" and found[0].package_size is None:
        raise BrokenPromise(f"{said} needs a package size")
    return read_terms(str(said), said.quantity_scale, found)


def _period_steps(said: Said, terms: PriceTerms, included: int) -> tuple[int, list[Step]]:
    """f(0) and f of the period's aggregate."""
    if terms.divisor != 1:
        raise BrokenPromise(f"{said}: a rate is for prices per event")
    flat = terms.tiers[0].flat
    at_zero = flat if said.flat_at_zero and abs(flat) < PRICE_LIMIT else 0
    at_zero = at_zero if said.cap is None else min(at_zero, said.cap)
    return at_zero, cap_steps(include_units(MODELS[said.model](terms), included, at_zero), said.cap)


def _event_steps(said: Said, terms: PriceTerms) -> list[Step]:
    """f of an event's own quantity, `divisor` times the amount."""
    least = whole_quanta(str(said), said.minimum_units or 0, said.quantity_scale)
    steps = charge_at_least(MODELS[said.model](terms), least)
    minimum, maximum = (None if bound is None else bound * terms.divisor for bound in (said.minimum, said.maximum))
    return cap_steps(raise_steps(steps, minimum), maximum)


def _event_price(said: Said, divisor: int) -> tuple[int | None, int | None, int, int, bool]:
    """EVENT_PRICES without `price`."""
    unit = int(10 ** (AMOUNT_SCALE - (AMOUNT_SCALE if said.round_places is None else said.round_places)))
    free = whole_quanta(str(said), said.included_units or 0, said.quantity_scale) or None
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
