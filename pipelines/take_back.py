"""Taking rows of usage back: each by a row of its own that names it, until their aggregate holds nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from pipelines.posted_usage import EVENT, PARTY, position_text
from pipelines.replay import PublishedTerms
from rating.terms import Terms
from schemas.ledger import AGGREGATE_KEY, POSTINGS, moves_aggregate
from schemas.money import to_amount


@dataclass(frozen=True)
class Wanted:
    """What is to be rated anew, and as what."""

    price_id: str
    first_day: date  # in the account's zone
    end_day: date  # excluded
    versions: tuple[int, int]  # the newest book and roster
    terms: PublishedTerms
    zones: pl.DataFrame  # account_id, zone
    stream: str
    first_offset: int
    meters: list[str]  # that the price reads
    is_cost: bool  # it is a carrier's price

    def of(self, versions: tuple[int, int]) -> Terms:
        """Terms of a book and roster, with this price alone."""
        terms = self.terms.of(versions)
        return replace(terms, usage=terms.usage.filter(pl.col("price_id") == self.price_id), is_partial=True)


def take_back(taken: pl.DataFrame, emptied: pl.DataFrame, wanted: Wanted) -> pl.DataFrame:
    """POSTINGS that undo these rows, the last counted first. A row and the shares of it are one message.

    Each has the amount of the row it names with the opposite sign. Where usage was retracted before, the rows that stand do not
    add up to the aggregate alone: the last row takes what is left, so that the aggregate holds nothing and costs nothing.

    Args:
        taken: The rows that stand in aggregates that are emptied.
        emptied: All rows of those aggregates.
    """
    message = ["stream", "stream_partition", "stream_offset", *EVENT]
    last_first = ["after_quanta", "before_quanta", "stream_offset"]
    order = (
        taken.filter(moves_aggregate())
        .sort(*AGGREGATE_KEY, *last_first, descending=[False] * len(AGGREGATE_KEY) + [True] * len(last_first))
        .select(message)
        .with_row_index("number")
    )
    step = pl.col("after_quanta") - pl.col("before_quanta").fill_null(0)
    scaled = pl.col("amount").to_physical()
    held = emptied.group_by(PARTY).agg(held_quanta=step.sum(), held_scaled=scaled.sum())
    ordered = (
        taken.join(order, on=message)
        .sort("number", "role", "stream_row")
        .join(held, on=PARTY, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(step=step, scaled=scaled)
    )
    last = pl.int_range(pl.len()).over(PARTY) == pl.len().over(PARTY) - 1
    gone = pl.col("step").cum_sum().over(PARTY)
    left = pl.col("held_scaled") - (pl.col("scaled").cum_sum().over(PARTY) - pl.col("scaled"))
    book, roster = wanted.versions
    return POSTINGS.select(
        ordered.with_columns(
            corrects=position_text(),
            stream=pl.lit(wanted.stream),
            stream_partition=pl.lit(0, pl.Int32),
            stream_offset=pl.col("number").cast(pl.Int64) + wanted.first_offset,
            stream_row=pl.int_range(pl.len(), dtype=pl.Int32).over("number"),
            book_version=pl.lit(book, pl.Int32),
            roster_version=pl.lit(roster, pl.Int32),
            quantity_quanta=-pl.col("quantity_quanta"),
            before_quanta=pl.col("held_quanta") - gone + pl.col("step"),
            after_quanta=pl.when(last).then(0).otherwise(pl.col("held_quanta") - gone).cast(pl.Int64),
            amount=to_amount(pl.lit(0, pl.Int128) - pl.when(last).then(left).otherwise("scaled")),
        )
    )
