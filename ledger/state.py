"""What a rater has to remember, read back from the ledger: running aggregates, posted event ids, and rejects it wrote ahead.

Nothing of this is stored on its own. A worker that starts, or takes over a partition, rebuilds it from the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from ledger.table import LedgerTable
from schemas.balance import Move
from schemas.errors import BrokenPromise
from schemas.frames import INSTANT
from schemas.ledger import (
    AGGREGATE_KEY,
    BALANCE_ROLES,
    MOVE_COLUMNS,
    POINT_COLUMNS,
    POSITION_KEY,
    Role,
    moves_aggregate,
    reported_quanta,
)
from schemas.money import to_amount

REJECT_KEY = ["stream", "stream_partition", "stream_offset", "event_index"]
"""What makes a row of REJECTS unique: the origin of the event."""

EVENT_COLUMNS = ["event_source", "event_id", "subscription_id", "occurred_at", "meter_id", "quantity_quanta", "value"]
"""An event's identity and the content that a second event of the same identity must have."""

USAGE_COLUMNS = [
    *AGGREGATE_KEY,
    *("before_quanta", "after_quanta", "corrects", "role", "stream"),
    *("event_source", "event_id", "subscription_id", "occurred_at", "meter_id", "quantity_quanta", "reported_quanta", "value"),
]
"""What a usage row says of its aggregate and of its event."""


class Part(NamedTuple):
    """Which rows are looked at: usage months (YYYY-MM) from `since` on and before `before`, of these accounts; None is all."""

    since: str | None = None
    before: str | None = None
    accounts: Sequence[str] | None = None


EVERYTHING = Part()


def aggregate_totals(postings: LedgerTable, part: Part = EVERYTHING) -> pl.DataFrame:
    """Where every running aggregate stands: AGGREGATE_KEY, `after_quanta` and `events`, one row per aggregate, in no order.

    `events` is the number of its rows that stand, shares left out. Each row moves the aggregate from before to after, so the
    sum of the steps is where it stands now, in whatever order and from whatever stream the rows came. A row that takes another
    back moves it the other way; an aggregate of which all was taken back has not begun.

    Raises:
        BrokenPromise: The steps of one aggregate add up to more than 64 bits hold.
    """
    step = pl.col("after_quanta").cast(pl.Int128) - pl.col("before_quanta").fill_null(0)
    # Rows of a bill run (fees, zero usage) move no running aggregate: the stream alone begins one.
    usage = _rows(postings.scan(), moves_aggregate(), part).filter(pl.col("event_id").is_not_null())
    sign = pl.when(pl.col("corrects").is_null()).then(1).otherwise(-1).cast(pl.Int64)
    standing = usage.group_by(AGGREGATE_KEY).agg(after_quanta=step.sum(), events=sign.sum())
    totals = standing.filter(pl.col("events") > 0).collect()
    try:
        return totals.with_columns(pl.col("after_quanta").cast(pl.Int64, strict=True))
    except pl.exceptions.InvalidOperationError as error:
        raise BrokenPromise(f"an aggregate of {postings.path} is beyond 64 bits") from error


def usage_rows(postings: LedgerTable, part: Part = EVERYTHING) -> Iterator[pl.DataFrame]:
    """USAGE_COLUMNS of the rows that events made, shares left out: what counters and remembered ids come from, in one pass.

    A frame per file, in no order. All rows of an event are in one file, because one commit wrote them and compaction keeps an
    account together.
    """
    wanted = moves_aggregate() & pl.col("event_id").is_not_null()
    for rows in postings.scan_files(part.since, part.before):
        yield _rows(rows, wanted, part).select(USAGE_COLUMNS).collect()


def charged_events(rows: pl.DataFrame) -> pl.DataFrame:
    """EVENT_COLUMNS of the events that were charged, also of those taken back since.

    An event comes with one row or more per meter. What re-rating wrote says nothing new and is left out.

    Args:
        rows: USAGE_COLUMNS, all rows of an event.
    """
    own = ~pl.col("stream").str.starts_with("rerate:")
    revenue = pl.col("role") == Role.REVENUE.value
    return rows.lazy().filter(revenue & own).with_columns(reported_quanta()).select(EVENT_COLUMNS).collect()


def event_ids(postings: LedgerTable, part: Part = EVERYTHING) -> Iterator[pl.DataFrame]:
    """The events that were charged: EVENT_COLUMNS, a frame per file, in no order."""
    return map(charged_events, usage_rows(postings, part))


def order_ids(postings: LedgerTable) -> pl.DataFrame:
    """The events about balances that were followed: EVENT_COLUMNS, with the digest of the content as `value`, in no order.

    Of all months: a top-up has to be known again whenever it comes, and there are few.
    """
    rows = postings.scan().filter(
        pl.col("role").is_in(BALANCE_ROLES) & (pl.col("charge") != Move.DEDUCT.value) & pl.col("value").is_not_null()
    )
    told = rows.with_columns(
        subscription_id="account_id",
        occurred_at=pl.lit(None, INSTANT),
        meter_id=pl.lit(None, pl.String),
        quantity_quanta=pl.lit(0, pl.Int64),
    )
    return told.select(EVENT_COLUMNS).unique().collect()


def balance_moves(postings: LedgerTable) -> pl.DataFrame:
    """What made every balance what it is: MOVE_COLUMNS, few rows an account, by account and number.

    Deductions are added up by bucket and changes of level by account; of sessions only the last row of those that run.
    """
    rows = postings.scan().filter(pl.col("role").is_in(BALANCE_ROLES)).select(MOVE_COLUMNS)
    last = [pl.col("after_quanta").max(), pl.col("occurred_at").max()]
    sums = [pl.col("quantity_quanta").sum(), pl.col("amount").to_physical().cast(pl.Int128).sum()]
    deducted = pl.col("charge") == Move.DEDUCT.value
    told = pl.col("role") == Role.NOTICE.value
    keys = ["account_id", "role", "charge", "price_id"]
    holds = rows.filter(pl.col("role") == Role.HOLD.value).sort("after_quanta")
    sessions = holds.group_by("account_id", "price_id", maintain_order=True).last().with_columns(pl.col("amount").to_physical())
    running = pl.col("charge").is_in([Move.REQUEST.value, Move.UPDATE.value])
    parts = [
        rows.filter(deducted)
        .with_columns(units=pl.col("quantity_quanta") != 0)
        .group_by(*keys, "units")
        .agg(pl.col("meter_id", "quantity_scale").first(), *sums, *last, dimensions=pl.lit("")),
        rows.filter(told)
        .group_by("account_id", "role")
        .agg(pl.col("charge", "price_id", "meter_id", "quantity_scale").first(), *sums, *last, dimensions=pl.lit("")),
        sessions.filter(running),
        sessions.filter(~running)
        .group_by("account_id")
        .agg(pl.col("role", "charge", "price_id", "meter_id", "quantity_scale").first(), *sums, *last, dimensions=pl.lit("")),
        rows.filter(~deducted & (pl.col("role") == Role.BALANCE.value)).with_columns(pl.col("amount").to_physical()),
    ]
    moves = pl.concat([part.select(MOVE_COLUMNS) for part in parts]).collect()
    return moves.with_columns(to_amount(pl.col("amount")).alias("amount")).sort("account_id", "after_quanta")


def aggregate_points(postings: LedgerTable, meters: Sequence[str], part: Part = EVERYTHING) -> pl.DataFrame:
    """POINT_COLUMNS of the rows, shares left out, of events of these meters, with the rows that correct them, in no order."""
    if not meters:
        return postings.schema.empty().select(POINT_COLUMNS)
    mine = pl.col("event_id").is_not_null() & pl.col("meter_id").is_in(list(meters))
    return _rows(postings.scan(), moves_aggregate(), part).filter(mine).select(POINT_COLUMNS).collect()


class PostedRows:
    """Rows of the ledger that a retraction asks for. Files are sorted by account, so only few of them are read."""

    def __init__(self, postings: LedgerTable) -> None:
        self._postings = postings

    def events(self, ids: pl.DataFrame) -> pl.DataFrame:
        """POSTINGS of these events, of every role, and the rows that correct them; in no order.

        Args:
            ids: `account_id`, `event_source`, `event_id`.
        """
        if ids.is_empty():
            return self._postings.schema.empty()
        mine = self._of_accounts(ids)
        found = mine.filter(pl.col("event_id").is_in(ids["event_id"].implode())).collect().join(ids, on=ids.columns, how="semi")
        position = pl.concat_str([pl.col(name).cast(pl.String) for name in POSITION_KEY], separator="/")
        corrections = mine.filter(pl.col("corrects").is_not_null()).collect()
        corrections = corrections.join(found.select(corrects=position), on="corrects", how="semi")
        return pl.concat([found, corrections]).unique(POSITION_KEY)

    def aggregates(self, keys: pl.DataFrame) -> pl.DataFrame:
        """POINT_COLUMNS of the rows, shares left out, of events of these aggregates, with all that correct them; in no order.

        Args:
            keys: `account_id` (null: of any account) and AGGREGATE_KEY.
        """
        mine = pl.col("event_id").is_not_null() & moves_aggregate()
        read = self._postings.scan() if keys["account_id"].null_count() else self._of_accounts(keys)
        months = keys["usage_period"].dt.strftime("%Y-%m").unique().implode()
        rows = read.filter(mine & pl.col("price_id").is_in(keys["price_id"].unique().implode()))
        rows = rows.filter(pl.col("usage_month").is_in(months))
        return rows.select(POINT_COLUMNS).collect().join(keys, on=AGGREGATE_KEY, how="semi")

    def _of_accounts(self, frame: pl.DataFrame) -> pl.LazyFrame:
        return self._postings.scan().filter(pl.col("account_id").is_in(frame["account_id"].unique().implode()))


def reject_keys(rejects: LedgerTable, stream: str, partition: int, after_offset: int) -> pl.DataFrame:
    """Origins of one source's rejects beyond an offset: REJECT_KEY, in order.

    Rejects are committed before the postings of the same messages. After a crash between the two the rejects table is
    ahead of the ledger, and what is in it must not be added again.
    """
    rows = rejects.scan().filter(
        pl.col("stream") == stream, pl.col("stream_partition") == partition, pl.col("stream_offset") > after_offset
    )
    return rows.select(REJECT_KEY).collect().sort(REJECT_KEY)


def newest_month(postings: LedgerTable) -> str | None:
    """The last usage month that has rows, YYYY-MM; None for an empty ledger."""
    months = postings.describe_files()["folder"]
    return None if months.is_empty() else str(months.max())


def _rows(rows: pl.LazyFrame, wanted: pl.Expr, part: Part) -> pl.LazyFrame:
    chosen = [wanted]
    if part.since is not None:
        chosen.append(pl.col("usage_month") >= part.since)
    if part.before is not None:
        chosen.append(pl.col("usage_month") < part.before)
    if part.accounts is not None:
        chosen.append(pl.col("account_id").is_in(list(part.accounts)))
    return rows.filter(*chosen)
