"""What a price version says in the price book, read into whole numbers: quanta, and money at scale 18. Nothing is rounded."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import NamedTuple

import polars as pl

from rating.steps import PriceTerms, Tier
from schemas.errors import BrokenPromise
from schemas.money import AMOUNT_SCALE


class Said(NamedTuple):
    """One row of PRICES as plain values; money and units are integers at scale 18."""

    price_id: str
    price_version: str
    model: str
    quantity_scale: int
    per: str | None
    by: list[str] | None
    match: str | None
    takes: str | None
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


MONEY_AND_UNITS = ("included_units", "cap", "minimum", "maximum", "minimum_units")


class TierSaid(NamedTuple):
    """One row of TIERS as plain integers at scale 18."""

    tier: int
    tier_from: int
    tier_to: int | None
    unit_price: int
    flat: int
    package_size: int | None
    per_units: int | None
    values: list[str]


def read_tiers(tiers: pl.DataFrame) -> dict[tuple[str, str], list[TierSaid]]:
    """TIERS in tier order, by price version."""
    amounts = pl.col("tier_from", "tier_to", "unit_price", "flat", "package_size", "per_units").to_physical()
    ordered = (
        tiers.sort("price_id", "price_version", "tier")
        .with_columns(pl.col("flat").fill_null(0), pl.col("values").fill_null([]))
        .with_columns(amounts)
    )
    found: dict[tuple[str, str], list[TierSaid]] = {}
    for name, version, *tier in ordered.select("price_id", "price_version", *TierSaid._fields).iter_rows():
        found.setdefault((name, version), []).append(TierSaid(*tier))
    return found


def read_terms(where: str, scale: int, tiers: Sequence[TierSaid]) -> PriceTerms:
    """Decimals at scale 18 -> whole quanta and money per quantum, both without remainder."""
    last = tiers[-1].tier_to
    divisor = lcm(*(whole_quanta(where, tier.per_units, scale) for tier in tiers if tier.per_units))
    return PriceTerms(
        tiers=[_read_tier(where, scale, tier, divisor) for tier in tiers],
        last_quanta=None if last is None else whole_quanta(where, last, scale),
        divisor=divisor,
    )


def _read_tier(where: str, scale: int, tier: TierSaid, divisor: int) -> Tier:
    """Prices and fees are `divisor` times what they are."""
    start, flat = whole_quanta(where, tier.tier_from, scale), tier.flat * divisor
    if tier.package_size is not None:
        package_quanta = whole_quanta(where, tier.package_size, scale)
        if package_quanta <= 0:
            raise BrokenPromise(f"{where}: a package needs a size above zero")
        price = tier.unit_price * divisor
        if tier.per_units is not None:
            price = price * package_quanta // whole_quanta(where, tier.per_units, scale)
        return Tier(tier.tier, start, price, flat, package_quanta)
    if tier.per_units is not None:
        raise BrokenPromise(f"{where}: a rate without an increment")
    unit_price, rest = divmod(tier.unit_price, 10**scale)
    if rest:
        raise BrokenPromise(f"{where}: a unit price has more than {AMOUNT_SCALE - scale} decimals")
    return Tier(tier.tier, start, unit_price * divisor, flat)


def whole_quanta(where: str, units: int, scale: int) -> int:
    """Units at scale 18 -> whole quanta."""
    whole, rest = divmod(units, int(10 ** (AMOUNT_SCALE - scale)))
    if rest:
        raise BrokenPromise(f"{where}: a quantity in its tiers is finer than the meter's {scale} decimals")
    return whole
