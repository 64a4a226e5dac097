"""Where the increments of a price begin that splits events: each belongs whole to the window in which it begins."""

from __future__ import annotations

import polars as pl

from rating.said import TierSaid, read_tiers, whole_quanta
from rating.steps import packages_begun
from schemas.frames import FrameSchema

INCREMENTS = FrameSchema(
    "INCREMENTS",
    {
        "price": pl.UInt32,  # row of LOWERED
        "from_quanta": pl.Int64,  # excluded, from the beginning of the event
        "to_quanta": pl.Int64,  # where the next row begins
        "increment_quanta": pl.Int64,
    },
)
"""One row per price version that splits events and stretch in which its increments are equally long, in order."""

_FAR = 2**63 - 1


def compile_increments(prices: pl.DataFrame, tiers: pl.DataFrame) -> pl.DataFrame:
    """INCREMENTS.

    Args:
        prices: PRICES with `price` and `quantity_scale`.
        tiers: TIERS of these prices.
    """
    split = prices.filter(pl.col("split").fill_null(False)).sort("price")
    if split.is_empty():
        return INCREMENTS.empty()
    tiers_of = read_tiers(tiers)
    rows: list[tuple[int, int, int, int]] = []
    least = pl.col("minimum_units").to_physical()
    columns = ("price", "price_id", "price_version", "per", "model", "quantity_scale")
    for price, price_id, version, per, model, scale, minimum in split.select(*columns, least).iter_rows():
        where = f"price {price_id} version {version}"
        listed = tiers_of[price_id, version][: 1 if model == "matrix" else None] if per == "event" else []
        found = _increments(where, scale, listed, whole_quanta(where, minimum or 0, scale) if per == "event" else 0)
        ends = [start for start, _ in found[1:]] + [_FAR]
        rows += [(price, start, end, size) for (start, size), end in zip(found, ends, strict=True)]
    return pl.DataFrame(rows, schema=dict(INCREMENTS.columns), orient="row")


def _increments(where: str, scale: int, tiers: list[TierSaid], least: int) -> list[tuple[int, int]]:
    """Where each length of increment begins; the least quantity of an event is its first increment."""
    found = [
        (whole_quanta(where, tier.tier_from, scale), whole_quanta(where, tier.package_size or 0, scale) or 1) for tier in tiers
    ]
    found = found or [(0, 1)]
    if not least:
        return found
    begun = [(start, size) for start, size in found if start < least]
    later = found[len(begun) :]
    start, size = begun[-1]
    first_end = start + packages_begun(least - start, size) * size
    first_end = min([first_end, *(start for start, _ in later[:1])])
    following = [] if later and later[0][0] == first_end else [(first_end, size)]
    return [(0, first_end), *following, *later]
