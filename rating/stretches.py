"""Who pays which price version in which stretch of time: list prices with the negotiated ones carved in.

A stretch is half-open. Where several prices claim the same moment, the one for the subscription wins over the one for the
whole account, and that over the list; of two at the same level the one that began later. Own terms replace the list price;
a discount keeps the list version in force and takes a percentage off it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from rating.kernel import MILLION
from schemas.book import Book
from schemas.errors import BrokenPromise
from schemas.frames import INSTANT, FrameSchema
from schemas.roster import Roster

FAR = datetime(9999, 1, 1, tzinfo=UTC)
"""The end of what has no end, while stretches are cut."""

STRETCHES = FrameSchema(
    "STRETCHES",
    {
        "holding": pl.UInt32,  # row of SUBSCRIPTIONS
        "price_id": pl.String,
        "price_version": pl.String,  # as it is posted; names one set of terms
        "terms_version": pl.String,  # the version in Book.prices or Roster.prices that holds the tiers
        "list_version": pl.String,  # the version in Book.prices that holds the filters
        "kept_millionths": pl.Int64,  # what is left after the discount; 1,000,000 without one
        "charged_from": INSTANT,
        "charged_to": INSTANT,  # FAR when open
    },
)
"""One row per subscription's plan, price version and stretch of time."""

_PAIR = ["holding", "price_id"]


def carve_stretches(book: Book, roster: Roster) -> pl.DataFrame:
    """STRETCHES of every price of every plan a subscription holds, while both are in force."""
    holdings = roster.subscriptions.with_row_index("holding").select(
        "holding", "subscription_id", "account_id", "plan_id", "active_from", pl.col("active_to").fill_null(FAR)
    )
    listed = _list_claims(holdings, book)
    negotiated = _negotiated_claims(holdings, book, roster)
    if negotiated.is_empty():
        return STRETCHES.select(listed)
    untouched = listed.join(negotiated, on=_PAIR, how="anti")
    touched = listed.join(negotiated, on=_PAIR, how="semi")
    carved = _choose(_cut(touched, negotiated), touched, negotiated, _newest_list_versions(book))
    return pl.concat([STRETCHES.select(untouched), carved])


def _list_claims(holdings: pl.DataFrame, book: Book) -> pl.DataFrame:
    """STRETCHES as if nothing had been negotiated."""
    prices = book.prices.select("plan_id", "price_id", "price_version", "valid_from", pl.col("valid_to").fill_null(FAR))
    return (
        holdings.join(prices, on="plan_id")
        .with_columns(
            charged_from=pl.max_horizontal("active_from", "valid_from"),
            charged_to=pl.min_horizontal("active_to", "valid_to"),
            terms_version="price_version",
            list_version="price_version",
            kept_millionths=pl.lit(MILLION, pl.Int64),
        )
        .filter(pl.col("charged_from") < pl.col("charged_to"))
    )


def _negotiated_claims(holdings: pl.DataFrame, book: Book, roster: Roster) -> pl.DataFrame:
    """One row per holding and override that touches it: `level`, `own_version`, `kept_millionths`, `suffix` and its stretch."""
    plans = book.prices.select("price_id", "plan_id").unique()
    overrides = roster.overrides.with_columns(
        _kept_millionths(), pl.col("valid_to").fill_null(FAR), own_version="price_version"
    ).join(plans, on="price_id")
    discounts = overrides.filter(pl.col("own_version").is_null())["kept_millionths"]
    if discounts.null_count() or not discounts.is_between(0, MILLION).all():
        raise BrokenPromise("a negotiated price has neither own terms nor a discount between 0 and 1 with 6 decimals")
    of_one = pl.col("subscription_id").is_not_null()
    common = ["price_id", "plan_id", "own_version", "kept_millionths", "valid_from", "valid_to"]
    one = overrides.filter(of_one).select("subscription_id", *common).join(holdings, on=["subscription_id", "plan_id"])
    whole = overrides.filter(~of_one).select("account_id", *common).join(holdings, on=["account_id", "plan_id"])
    levels = pl.concat(
        [
            one.select(*_claim_columns(2, "subscription_id")),
            whole.select(*_claim_columns(1, "account_id")),
        ]
    )
    return levels.filter(pl.col("charged_from") < pl.col("charged_to"))


def _claim_columns(level: int, party: str) -> list[pl.Expr]:
    return [
        pl.col("holding", "price_id", "own_version", "kept_millionths"),
        pl.lit(level, pl.Int8).alias("level"),
        pl.concat_str(pl.lit("/"), party, pl.lit("-"), _percent_text(), pl.lit("%")).alias("suffix"),
        pl.max_horizontal("active_from", "valid_from").alias("charged_from"),
        pl.min_horizontal("active_to", "valid_to").alias("charged_to"),
    ]


def _kept_millionths() -> pl.Expr:
    """1 - discount in millionths, null when the discount has more than 6 decimals or is absent."""
    scaled = pl.col("discount").to_physical()
    step = pl.lit(10**12, pl.Int128)
    return pl.when(scaled % step == 0).then(MILLION - (scaled // step).cast(pl.Int64)).alias("kept_millionths")


def _percent_text() -> pl.Expr:
    """The discount in percent, as short as it can be written: 15, 12.5, 0.0001."""
    taken = MILLION - pl.col("kept_millionths")
    decimals = (taken % 10_000).cast(pl.String).str.zfill(4).str.strip_chars_end("0")
    point = pl.when(decimals == "").then(pl.lit("")).otherwise(pl.lit("."))
    return pl.concat_str((taken // 10_000).cast(pl.String), point, decimals)


def _newest_list_versions(book: Book) -> pl.DataFrame:
    """`price_id`, `newest_version`: whose filters own terms take where no list version is in force."""
    return book.prices.group_by("price_id").agg(newest_version=pl.col("price_version").sort_by("valid_from").last())


def _cut(touched: pl.DataFrame, negotiated: pl.DataFrame) -> pl.DataFrame:
    """One row per pair and shortest stretch between any two moments at which one of its claims begins or ends."""
    moments = [
        claims.select(*_PAIR, pl.col(moment).alias("moment"))
        for claims in (touched, negotiated)
        for moment in ("charged_from", "charged_to")
    ]
    return (
        pl.concat(moments)
        .unique()
        .sort(*_PAIR, "moment")
        .select(
            *_PAIR,
            pl.col("moment").alias("stretch_from"),
            pl.col("moment").shift(-1).over(_PAIR).alias("stretch_to"),
        )
        .drop_nulls("stretch_to")
    )


def _choose(stretches: pl.DataFrame, touched: pl.DataFrame, negotiated: pl.DataFrame, newest: pl.DataFrame) -> pl.DataFrame:
    """STRETCHES: for each stretch the claim that wins; stretches that nobody claims fall away."""
    holds = (pl.col("charged_from") <= pl.col("stretch_from")) & (pl.col("stretch_from") < pl.col("charged_to"))
    stretch = [*_PAIR, "stretch_from"]
    listed = stretches.join(touched, on=_PAIR).filter(holds).select(*stretch, "list_version")
    winning = (
        stretches.join(negotiated, on=_PAIR)
        .filter(holds)
        .sort("level", "charged_from", "own_version", "kept_millionths", nulls_last=True)
        .unique(stretch, keep="last", maintain_order=True)
        .select(*stretch, "level", "own_version", "kept_millionths", "suffix")
    )
    own = pl.col("own_version").is_not_null()
    discounted = ~own & (pl.col("kept_millionths") != MILLION)
    return (
        stretches.join(listed, on=stretch, how="left")
        .join(winning, on=stretch, how="left")
        .filter(own | pl.col("list_version").is_not_null())
        .join(newest, on="price_id", how="left")
        .select(
            *_PAIR,
            pl.when(own)
            .then("own_version")
            .when(discounted)
            .then(pl.col("list_version") + pl.col("suffix"))
            .otherwise("list_version")
            .alias("price_version"),
            pl.coalesce("own_version", "list_version").alias("terms_version"),
            pl.coalesce("list_version", "newest_version").alias("list_version"),
            pl.when(discounted).then("kept_millionths").otherwise(pl.lit(MILLION, pl.Int64)).alias("kept_millionths"),
            pl.col("stretch_from").alias("charged_from"),
            pl.col("stretch_to").alias("charged_to"),
        )
    )
