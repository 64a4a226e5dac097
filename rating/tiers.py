"""The one form every price is brought to before it rates: steps of a function f from quanta to money.

    f(q) = base + unit_price x units      in the step with  from < q <= to
    units = q - from                      or, for packages, ceil((q - from) / package)
    f(q) = at_zero for q = 0

Quanta are integers, money is an integer at scale 18, so f is exact. Each price model has a file of its own that lowers its
TIERS to these steps; `lower_prices` calls it and works out how far the price can be followed before |f| would leave 128 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from rating.flat import lower_flat
from rating.graduated import lower_graduated
from rating.package import lower_package
from rating.per_unit import lower_per_unit
from rating.steps import PriceTerms, Step, Tier
from rating.volume import lower_volume
from schemas.errors import BrokenPromise
from schemas.frames import FrameSchema
from schemas.money import AMOUNT_LIMIT, AMOUNT_SCALE

MODELS: Mapping[str, Callable[[PriceTerms], list[Step]]] = {
    "per_unit": lower_per_unit,
    "graduated": lower_graduated,
    "volume": lower_volume,
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
    columns = ("price_id", "price_version", "model", "quantity_scale", "free_units", "package_size", "flat_at_zero")
    amounts = pl.col("free_units", "package_size").to_physical()
    for slot, row in enumerate(prices.select(columns).with_columns(amounts).iter_rows()):
        name, version, model, scale, free_units, package_size, flat_at_zero = row
        found = tiers_of.get((name, version))
        if found is None:
            raise BrokenPromise(f"price {name} version {version} has no tiers")
        if model not in MODELS:
            raise BrokenPromise(f"price {name} version {version} has the unknown model '{model}'")
        terms = _read_terms(f"price {name} version {version}", scale, found, (free_units, package_size))
        reachable, max_quanta = cut_at_limit(MODELS[model](terms))
        max_quanta = max_quanta if terms.last_quanta is None else min(max_quanta, terms.last_quanta)
        at_zero = terms.tiers[0].flat if flat_at_zero and abs(terms.tiers[0].flat) < PRICE_LIMIT else 0
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


def _tiers_by_price(tiers: pl.DataFrame) -> dict[tuple[str, str], list[tuple[int, int, int | None, int, int]]]:
    """TIERS as plain integers at scale 18, in tier order, by price version."""
    ordered = tiers.sort("price_id", "price_version", "tier").with_columns(
        pl.col("tier_from", "tier_to", "unit_price", "flat").to_physical()
    )
    found: dict[tuple[str, str], list[tuple[int, int, int | None, int, int]]] = {}
    names = ("price_id", "price_version", "tier", "tier_from", "tier_to", "unit_price", "flat")
    for name, version, *tier in ordered.select(names).iter_rows():
        found.setdefault((name, version), []).append((tier[0], tier[1], tier[2], tier[3], tier[4] or 0))
    return found


def _read_terms(
    where: str, scale: int, tiers: Sequence[tuple[int, int, int | None, int, int]], package: tuple[int | None, int | None]
) -> PriceTerms:
    """Decimals at scale 18 -> whole quanta and money per quantum, both without remainder."""
    quantum = int(10 ** (AMOUNT_SCALE - scale))

    def quanta(units: int) -> int:
        whole, rest = divmod(units, quantum)
        if rest:
            raise BrokenPromise(f"{where}: a quantity in its tiers is finer than the meter's {scale} decimals")
        return whole

    free_units, package_size = package
    per_quantum = 1 if package_size is not None else int(10**scale)
    if any(unit_price % per_quantum for _, _, _, unit_price, _ in tiers):
        raise BrokenPromise(f"{where}: a unit price has more than {AMOUNT_SCALE - scale} decimals")
    return PriceTerms(
        tiers=[Tier(tier, quanta(start), unit_price // per_quantum, flat) for tier, start, _, unit_price, flat in tiers],
        last_quanta=None if tiers[-1][2] is None else quanta(tiers[-1][2]),
        free_quanta=quanta(free_units or 0),
        package_quanta=None if package_size is None else quanta(package_size),
    )
