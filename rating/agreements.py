"""Partner agreements, compiled: which part of which price's revenue, or how much a unit, a partner is due and when."""

from __future__ import annotations

import polars as pl

from rating.kernel import MILLION
from schemas.book import Book
from schemas.errors import BrokenPromise
from schemas.frames import INSTANT, FrameSchema
from schemas.money import AMOUNT_SCALE

SHARES = FrameSchema(
    "SHARES",
    {
        "partner_id": pl.String,
        "price_id": pl.String,
        "agreement": pl.UInt32,  # number of the agreement
        "share_millionths": pl.Int64,  # of the revenue; null with tiers or an amount per unit
        "of_margin": pl.Boolean,  # the costs of an event are taken off at the same percentage
        "per_quantum": pl.Int128,  # scale 18; null unless the share is an amount per unit
        "valid_from": INSTANT,
        "valid_to": INSTANT,  # null: open
    },
)
"""One row per agreement and price it covers."""

SHARE_TIERS = FrameSchema(
    "SHARE_TIERS",
    {
        "agreement": pl.UInt32,
        "tier": pl.Int32,
        "revenue_from": pl.Int128,  # scale 18, excluded; a multiple of a million, so that a whole tier's share is exact
        "revenue_to": pl.Int128,  # included; null is unbounded
        "tier_millionths": pl.Int64,
    },
)
"""One row per agreement with tiers and tier."""

_STEP = 10 ** (AMOUNT_SCALE - 6)


def compile_shares(book: Book, prices: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """SHARES and SHARE_TIERS.

    Args:
        prices: PRICES with the `quantity_scale` of their meter.

    Raises:
        BrokenPromise: The catalog let something through that cannot be shared exactly.
    """
    numbers = book.agreements.select(pl.col("agreement_id").unique().sort()).with_row_index("agreement")
    scales = prices.group_by("price_id").agg(pl.col("quantity_scale").max(), (pl.col("charge") == "usage").all().alias("usage"))
    known = book.agreements.join(numbers, on="agreement_id").join(scales, on="price_id", how="left", maintain_order="left")
    ten = pl.lit(10, pl.Int128).pow(pl.col("quantity_scale").fill_null(0).cast(pl.UInt32))
    per_unit = pl.col("per_unit").to_physical()
    shares = known.with_columns(
        _millionths("share").alias("share_millionths"),
        pl.when(per_unit % ten == 0).then(per_unit // ten).alias("per_quantum"),
        of_margin=pl.col("of") == "margin",
    )
    tiers = book.agreement_tiers.join(numbers, on="agreement_id").with_columns(
        pl.col("revenue_from", "revenue_to").to_physical(), tier_millionths=_millionths("share")
    )
    _require_exact(shares, tiers)
    return SHARES.select(shares), SHARE_TIERS.select(tiers)


def _millionths(column: str) -> pl.Expr:
    """A part of one as whole millionths; null where it has more than 6 decimals."""
    scaled, step = pl.col(column).to_physical(), pl.lit(_STEP, pl.Int128)
    return pl.when(scaled % step == 0).then((scaled // step).cast(pl.Int64))


def _require_exact(shares: pl.DataFrame, tiers: pl.DataFrame) -> None:
    percent = shares.filter(pl.col("share").is_not_null())["share_millionths"]
    every = pl.concat([percent, tiers["tier_millionths"].rename("share_millionths")])
    if every.null_count() or not every.is_between(0, MILLION).all():
        raise BrokenPromise("a partner's share is not between 0 and 1 with at most 6 decimals")
    units = shares.filter(pl.col("per_unit").is_not_null())
    if units["per_quantum"].null_count() or not units["usage"].fill_null(True).all():
        raise BrokenPromise("an amount per unit is finer than its meter leaves room for, or for a fee")
    ways = pl.col("share").is_not_null().cast(pl.Int8) + pl.col("per_unit").is_not_null().cast(pl.Int8)
    tiered = pl.col("agreement").is_in(tiers["agreement"].unique().implode())
    if not shares.select((ways + tiered.cast(pl.Int8) == 1).all()).item():
        raise BrokenPromise("an agreement has not exactly one of a share, tiers and an amount per unit")
    if (
        not tiers.select((pl.col("revenue_from") % MILLION == 0) & (pl.col("revenue_to").fill_null(0) % MILLION == 0))
        .to_series()
        .all()
    ):
        raise BrokenPromise("a tier of an agreement has more than 12 decimals")
