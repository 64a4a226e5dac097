"""Re-rating: after a price was published late, post what makes the ledger say what the usage should have cost.

Nothing is edited. A row of usage that now belongs to another price version is taken back by a row with the opposite sign that
names it, and the usage is posted anew under the newest book and roster. An aggregate that loses usage is taken back as a
whole and what stays is posted again, because its tiers were reached with the usage that left. So the amounts of every
aggregate add up to f of what it holds, counters rebuilt from the ledger are right, and the second time there is nothing to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl

from ledger.lock import writer_lock
from ledger.state import balance_moves
from ledger.table import LedgerTable, source_id
from pipelines.account_ranges import by_accounts, group_links
from pipelines.posted_usage import PARTY, sum_rows, usage_rows
from pipelines.replay import PublishedTerms
from pipelines.rerate_balances import pay_corrections
from pipelines.rerate_rows import correct_rows
from pipelines.take_back import Wanted
from pipelines.workspace import Workspace
from rating.balance.accounts import Balances
from schemas.errors import Refused
from schemas.frames import AMOUNT, FrameSchema
from schemas.money import to_amount
from schemas.period import Period

CHANGES = FrameSchema(
    "CHANGES",
    {
        "account_id": pl.String,
        "counted_for": pl.String,
        "price_id": pl.String,
        "price_version": pl.String,
        "usage_period": pl.Date,
        "role": pl.String,
        "partner_id": pl.String,
        "currency": pl.String,
        "rows": pl.Int64,  # that are posted
        "amount_before": AMOUNT,  # what the aggregate's rows add up to without them
        "amount_after": AMOUNT,
        "difference": AMOUNT,
    },
)
"""One row per aggregate, role and partner that gets rows."""


@dataclass(frozen=True)
class Rerating:
    """What a re-rating posts, or would post."""

    price_id: str
    stream: str
    rows: int
    changes: pl.DataFrame  # CHANGES
    posted: bool

    @property
    def message(self) -> str:
        """One sentence for people."""
        if not self.rows:
            return f"{self.price_id}: the ledger says already what the newest book and roster say. Nothing was written."
        aggregates = f"{self.rows:,} rows in {self.changes.height:,} aggregates"
        if not self.posted:
            return f"{self.price_id}: {aggregates} would be posted. Nothing was written; --post writes them."
        return f"{self.price_id}: {aggregates} posted as {self.stream}. The next bill run bills the difference."


def rerate(workspace: Workspace, price_id: str, first_day: date, end_day: date, *, post: bool) -> Rerating:
    """Rate the usage of one price in [first_day, end_day) anew; days are those of each account's zone.

    Range of accounts by range of accounts, each one commit, so an attempt that was broken off is finished by the next.

    Args:
        post: False computes and writes nothing; True appends, as the only writer of the ledger.

    Raises:
        Refused: There is no such price, the days are in no order, or usage cannot be rated exactly by the new terms.
        LedgerBusy: A worker or another command writes this ledger.
    """
    if not post:
        return _rerate(workspace, price_id, (first_day, end_day), None)
    with writer_lock(workspace.ledger_folder, exclusive=True):
        target = workspace.ledger().postings
        target.join(alone=True)
        return _rerate(workspace, price_id, (first_day, end_day), target)


def _rerate(workspace: Workspace, price_id: str, days: tuple[date, date], target: LedgerTable | None) -> Rerating:
    """Compute, and append to `target` if there is one."""
    if days[0] >= days[1]:
        raise Refused(f"From {days[0]} to {days[1]} is no day. The last day is not part of the range; name the day after it.")
    wanted = _want(workspace, price_id, days)
    postings = workspace.ledger().postings
    source = source_id(wanted.stream, 0)
    have = postings.position(source)
    balances = Balances()
    balances.load(balance_moves(postings))
    count, changes, following = 0, [CHANGES.empty()], 0 if have is None else have + 1
    for part in _parts(postings.scan(), wanted):
        rows = correct_rows(part, replace(wanted, first_offset=following))
        if rows.is_empty():
            continue
        changes.append(_changes(part, rows))
        rows = pay_corrections(rows, postings.scan(), balances, wanted.of(wanted.versions))
        last = int(rows["stream_offset"].max())  # type: ignore[arg-type]
        if target is not None:
            target.append(rows, expected={source: have}, reached={source: last})
        have, following = last, last + 1
        count += rows.height
    return Rerating(price_id, wanted.stream, count, pl.concat(changes), target is not None)


def _want(workspace: Workspace, price_id: str, days: tuple[date, date]) -> Wanted:
    book, roster = workspace.load()
    prices = pl.concat([book.prices, roster.prices]).filter(pl.col("price_id") == price_id)
    if prices.is_empty():
        raise Refused(
            f'There is no price {price_id} in the newest book. `boss sql "select distinct price_id from prices"` lists them.'
        )
    if prices["meter_id"].null_count():
        raise Refused(f"{price_id} is a recurring fee; the next bill run posts the difference of a fee by itself.")
    versions = (book.version, roster.version)
    said = json.dumps([price_id, str(days[0]), str(days[1]), *versions])
    return Wanted(
        price_id=price_id,
        first_day=days[0],
        end_day=days[1],
        versions=versions,
        terms=PublishedTerms(workspace),
        zones=roster.accounts.select("account_id", "zone"),
        stream=f"rerate:{hashlib.sha256(said.encode()).hexdigest()[:16]}",
        first_offset=0,
        meters=sorted({*prices["meter_id"], *prices["meters"].explode().drop_nulls()}),
        is_cost=prices["carrier_id"].null_count() == 0,
    )


def _parts(postings: pl.LazyFrame, wanted: Wanted) -> Iterator[pl.DataFrame]:
    """Rows of the meters that the price reads or has read, in every usage month that the days may belong to.

    For a carrier's price rows of all meters: it counts where the customer is charged, by whatever meter.
    """
    first = Period.of(wanted.first_day).previous()
    last = Period.of(wanted.end_day - timedelta(days=1))
    rows = usage_rows(postings, str(first), str(last))
    links = group_links(wanted.of(wanted.versions))
    if wanted.is_cost:
        return by_accounts(rows, links)
    was = rows.filter(pl.col("price_id") == wanted.price_id).select(pl.col("meter_id").unique()).collect()["meter_id"]
    return by_accounts(rows.filter(pl.col("meter_id").is_in(list({*wanted.meters, *was}))), links)


def _changes(part: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """CHANGES that `rows` make."""
    added = rows.group_by(PARTY).agg(
        pl.col("account_id", "currency").min(), rows=pl.len().cast(pl.Int64), more=pl.col("amount").to_physical().sum()
    )
    before = sum_rows(part).select(*PARTY, "scaled")
    both = added.join(before, on=PARTY, how="left", nulls_equal=True).with_columns(pl.col("scaled").fill_null(0))
    told = both.with_columns(
        to_amount(pl.col("scaled")).alias("amount_before"),
        to_amount(pl.col("scaled") + pl.col("more")).alias("amount_after"),
        to_amount(pl.col("more")).alias("difference"),
    )
    return CHANGES.select(told.sort("account_id", *PARTY))
