"""The usage that the ledger knows, read back from its own rows: what was measured, when, for whom, and what stands for it.

Every correction of prices starts here: replay, what-if and re-rating need no message again. A usage row says what its event
measured; an event that several prices of one meter charged has several rows and is one measured event. A row stands until
another row names it in `corrects`.
"""

from __future__ import annotations

import polars as pl

from schemas.balance import Move
from schemas.frames import INSTANT, FrameSchema
from schemas.ledger import AGGREGATE_KEY, POSITION_KEY, Role, moves_aggregate, reported_quanta

POSTED_USAGE = FrameSchema(
    "POSTED_USAGE",
    {
        "stream": pl.String,  # where the event was charged first
        "stream_partition": pl.Int32,
        "stream_offset": pl.Int64,
        "stream_row": pl.Int32,
        "event_source": pl.String,
        "event_id": pl.String,
        "occurred_at": INSTANT,
        "account_id": pl.String,
        "subscription_id": pl.String,
        "meter_id": pl.String,
        "quantity_quanta": pl.Int64,  # what the event reported
        "quantity_scale": pl.Int8,
        "dimensions": pl.String,
        "value": pl.String,  # what a meter of aggregation unique counts, or the money that came with the event
        "covered_quanta": pl.Int64,  # of the quantity: what units paid in advance stand for, so that no price counts it
    },
)
"""One row per event and meter, in order of position."""

EVENT = ["event_source", "event_id"]
"""What tells events apart."""

_POSITION_TEXT = r"^(.*)/(-?\d+)/(-?\d+)/(-?\d+)$"


def usage_rows(postings: pl.LazyFrame, first_month: str, last_month: str) -> pl.LazyFrame:
    """POSTINGS of usage events of these usage months and those between, with `covered_quanta`, as in POSTED_USAGE.

    Fees that a bill run posts have no event.
    """
    month = pl.col("usage_month")
    inside = postings.filter((month >= first_month) & (month <= last_month) & pl.col("event_id").is_not_null())
    by = [*EVENT, "meter_id"]
    deducted = (pl.col("role") == Role.BALANCE.value) & (pl.col("charge") == Move.DEDUCT.value)
    units = inside.filter(deducted & (pl.col("quantity_quanta") != 0))
    covered = units.group_by(by).agg(covered_quanta=-pl.col("quantity_quanta").sum()).collect()
    usage = inside.filter(pl.col("charge") == "usage")
    if covered.is_empty():
        return usage.with_columns(covered_quanta=pl.lit(0, pl.Int64))
    return usage.join(covered.lazy(), on=by, how="left").with_columns(pl.col("covered_quanta").fill_null(0))


def position_text() -> pl.Expr:
    """A row's position as `corrects` writes it: stream/partition/offset/row."""
    return pl.concat_str([pl.col(name).cast(pl.String) for name in POSITION_KEY], separator="/")


def standing_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that no other row takes back, without those that only take back.

    Args:
        rows: POSTINGS, with all the corrections of the aggregates in it; one usage month holds an aggregate as a whole.
    """
    kept = rows.filter(pl.col("corrects").is_null())
    if kept.height == rows.height:
        return kept
    named = rows.select(pl.col("corrects").drop_nulls().str.extract_groups(_POSITION_TEXT).alias("at")).unnest("at")
    named = named.select(pl.col(old).cast(rows.schema[new]).alias(new) for old, new in zip("1234", POSITION_KEY, strict=True))
    return kept.join(named, on=POSITION_KEY, how="anti", maintain_order="left")


def without_retracted(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without those of events that were retracted: that usage did not happen."""
    retracting = pl.col("corrects").is_not_null() & ~pl.col("stream").str.starts_with("rerate:")
    gone = rows.filter(retracting).select("corrects")
    if gone.is_empty():
        return rows
    events = (
        rows.with_columns(corrects=position_text()).join(gone, on="corrects", how="semi").select(*EVENT, "meter_id").unique()
    )
    return rows.join(events, on=events.columns, how="anti", maintain_order="left")


def posted_usage(rows: pl.DataFrame) -> pl.DataFrame:
    """POSTED_USAGE: what the events behind these rows measured. Rows that take others back measure nothing.

    Args:
        rows: POSTINGS of usage events.
    """
    measured = rows.filter(moves_aggregate() & pl.col("corrects").is_null())
    streams = pl.Enum(measured["stream"].unique().sort())
    ordered = measured.sort(pl.col("stream").cast(streams), *POSITION_KEY[1:])
    first = ordered.unique([*EVENT, "meter_id"], keep="first", maintain_order=True)
    return POSTED_USAGE.select(first.with_columns(reported_quanta()))


def sold_prices(rows: pl.DataFrame) -> pl.DataFrame:
    """EVENT, `price_id` and `currency`: by which prices customers have ever been charged for these events.

    Args:
        rows: POSTINGS of usage events.
    """
    revenue = rows.filter((pl.col("role") == Role.REVENUE.value) & pl.col("corrects").is_null())
    return revenue.select(*EVENT, "price_id", "currency").unique()


SUMS = FrameSchema(
    "SUMS",
    {
        "account_id": pl.String,
        **{name: pl.Date if name == "usage_period" else pl.String for name in AGGREGATE_KEY},
        "role": pl.String,
        "partner_id": pl.String,
        "currency": pl.String,
        "quanta": pl.Int64,  # where the aggregate stands
        "scaled": pl.Int128,  # its amounts added up, scale 18
    },
)
"""One row per aggregate, role and partner."""

PARTY = [*AGGREGATE_KEY, "role", "partner_id"]
"""What an aggregate's amounts are added up by."""


def sum_payments(postings: pl.LazyFrame, month: str) -> pl.DataFrame:
    """SUMS of what balances paid for the usage of a month, by the aggregates they paid for, in no order."""
    mine = postings.filter(
        (pl.col("usage_month") == month)
        & (pl.col("role") == Role.BALANCE.value)
        & (pl.col("charge") == Move.DEDUCT.value)
        & (pl.col("quantity_quanta") == 0)
    )
    sums = (
        mine.with_columns(price_id="value")
        .group_by(PARTY)
        .agg(
            pl.col("account_id", "currency").first(),
            quanta=pl.lit(0, pl.Int64),
            scaled=pl.col("amount").to_physical().cast(pl.Int128).sum(),
        )
    )
    return SUMS.select(sums.collect())


def sum_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """SUMS of POSTINGS, in no order: what the ledger says, corrections included."""
    step = pl.col("after_quanta") - pl.col("before_quanta").fill_null(0)
    sums = rows.group_by(PARTY).agg(
        pl.col("account_id", "currency").min(), quanta=step.sum(), scaled=pl.col("amount").to_physical().sum()
    )
    return SUMS.select(sums)
