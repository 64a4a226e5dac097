"""Who is affected by what publishing would change: for each changed price version, how many customers have it."""

from __future__ import annotations

import polars as pl

from catalog.diff import changed_prices
from rating.terms import compile_terms
from schemas.book import Book
from schemas.frames import FrameSchema
from schemas.roster import Roster

AFFECTED = FrameSchema(
    "AFFECTED",
    {
        "price": pl.String,  # price_id
        "version": pl.String,  # price_version
        "change": pl.String,  # added | removed | changed
        "subscriptions": pl.Int64,
        "accounts": pl.Int64,
    },
)
"""One row per changed price version, by price and version."""


def count_affected(old: tuple[Book | None, Roster | None], new: tuple[Book, Roster]) -> pl.DataFrame:
    """Count who is charged by each changed price version at some time, before the change or after it.

    Who has own terms instead is not counted; who has a discount on the list price is.
    """
    changed = changed_prices(old, new)
    if changed.is_empty():
        return AFFECTED.empty()
    held = _held(*new)
    if old[0] is not None and old[1] is not None:
        held = pl.concat([held, _held(old[0], old[1])])
    counts = held.group_by("price_id", "terms_version").agg(
        subscriptions=pl.col("subscription_id").n_unique().cast(pl.Int64),
        accounts=pl.col("account_id").n_unique().cast(pl.Int64),
    )
    counted = changed.join(
        counts, left_on=["price_id", "price_version"], right_on=["price_id", "terms_version"], how="left", maintain_order="left"
    ).with_columns(pl.col("subscriptions", "accounts").fill_null(0))
    return AFFECTED.select(counted.rename({"price_id": "price", "price_version": "version"}))


def _held(book: Book, roster: Roster) -> pl.DataFrame:
    """`price_id`, `terms_version`, `subscription_id` and `account_id` of everybody who is charged at some time."""
    terms = compile_terms(book, roster)
    names = ["price_id", "price_version", "subscription_id", "account_id"]
    held = pl.concat([terms.usage.select(names), terms.recurring.select(names)])
    # A discount is posted as '<list version>/<customer>-<percent>%'; no id has a percent sign.
    listed = pl.col("price_version").str.extract(r"^([^/]+)/.*%$")
    return held.select("price_id", "subscription_id", "account_id", terms_version=pl.coalesce(listed, "price_version")).unique()
