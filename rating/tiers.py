"""The one form every price is brought to before it rates: steps of a function f from quanta to money.

    f(q) = base + unit_price x units      in the step with  from < q <= to
    units = q - from                      or, for packages, ceil((q - from) / package)
    f(q) = at_zero for q = 0

Quanta are integers, money is an integer at scale 18, so f is exact. Each price model has a file of its own that lowers its
TIERS to these steps; `lower_prices` calls it, adds what any price may have, in the order of a reader of the price:

    model      the tiers
    included   units before the first tier
    cap        the most a period costs

and works out how far the price can be followed before |f| would leave 128 bits. A discount comes after all of it (kernel.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from rating.bounds import cap_steps, include_units
from rating.flat import lower_flat
from rating.graduated import lower_graduated
from rating.package import lower_package
from rating.per_unit import lower_per_unit
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


class LoweredPrices(NamedTuple):
    prices: pl.DataFrame
    steps: pl.DataFrame


def lower_prices(prices: pl.DataFrame, tiers: pl.DataFrame) -> LoweredPrices:
    """Bring every price version to steps.

    Args:
        prices: PRICES with `quantity_scale` of their meter (0 for recurring).
        tiers: TIERS of these prices.

    Returns:
        LOWERED and STEPS.

    Raises:
        BrokenPromise: A price version has no tiers, an unknown model, or more decimals than its meter's scale leaves room for.
    """
    tiers_of = _tiers_by_price(tiers)
    lowered: list[tuple[int, str, str, int, int]] = []
    steps: list[tuple[int, int, int, int, int, int]] = []
    amounts = pl.col("included_units", "cap").to_physical()
    columns = ("price_id", "price_version", "model", "quantity_scale", "included_units", "cap", "flat_at_zero")
    for slot, row in enumerate(prices.with_columns(amounts).select(columns).iter_rows()):
        name, version, model, scale, included_units, cap, flat_at_zero = row
        where = f"price {name} version {version}"
        found = tiers_of.get((name, version))
        if found is None:
            raise BrokenPromise(f"{where} has no tiers")
        if model not in MODELS:
            raise BrokenPromise(f"{where} has the unknown model '{model}'")
        if model == "package" and found[0].package_size is None:
            raise BrokenPromise(f"{where} needs a package size")
        terms = _read_terms(where, scale, found)
        included = _quanta(where, included_units or 0, scale)
        at_zero = terms.tiers[0].flat if flat_at_zero and abs(terms.tiers[0].flat) < PRICE_LIMIT else 0
        at_zero = at_zero if cap is None else min(at_zero, cap)
        whole = cap_steps(include_units(MODELS[model](terms), included, at_zero), cap)
        reachable, max_quanta = cut_at_limit(whole)
        max_quanta = max_quanta if terms.last_quanta is None else min(max_quanta, terms.last_quanta + included)
        lowered.append((slot, name, version, at_zero, max_quanta))
        steps += [(slot, *step) for step in reachable]
    return LoweredPrices(
        pl.DataFrame(lowered, schema=dict(LOWERED.columns), orient="row"),
        pl.DataFrame(steps, schema=dict(STEPS.columns), orient="row"),
    )


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


def _tiers_by_price(tiers: pl.DataFrame) -> dict[tuple[str, str], list[_Written]]:
    """TIERS in tier order, by price version."""
    amounts = pl.col("tier_from", "tier_to", "unit_price", "flat", "package_size").to_physical()
    ordered = tiers.sort("price_id", "price_version", "tier").with_columns(pl.col("flat").fill_null(0)).with_columns(amounts)
    found: dict[tuple[str, str], list[_Written]] = {}
    for name, version, *tier in ordered.select("price_id", "price_version", *_Written._fields).iter_rows():
        found.setdefault((name, version), []).append(_Written(*tier))
    return found


def _read_terms(where: str, scale: int, tiers: Sequence[_Written]) -> PriceTerms:
    """Decimals at scale 18 -> whole quanta and money per quantum, both without remainder."""
    last = tiers[-1].tier_to
    return PriceTerms(
        tiers=[_read_tier(where, scale, tier) for tier in tiers],
        last_quanta=None if last is None else _quanta(where, last, scale),
    )


def _read_tier(where: str, scale: int, tier: _Written) -> Tier:
    start = _quanta(where, tier.tier_from, scale)
    if tier.package_size is not None:
        package_quanta = _quanta(where, tier.package_size, scale)
        if package_quanta <= 0:
            raise BrokenPromise(f"{where}: a package needs a size above zero")
        return Tier(tier.tier, start, tier.unit_price, tier.flat, package_quanta)
    unit_price, rest = divmod(tier.unit_price, 10**scale)
    if rest:
        raise BrokenPromise(f"{where}: a unit price has more than {AMOUNT_SCALE - scale} decimals")
    return Tier(tier.tier, start, unit_price, tier.flat)


def _quanta(where: str, units: int, scale: int) -> int:
    """Units at scale 18 -> whole quanta."""
    whole, rest = divmod(units, int(10 ** (AMOUNT_SCALE - scale)))
    if rest:
        raise BrokenPromise(f"{where}: a quantity in its tiers is finer than the meter's {scale} decimals")
    return whole
