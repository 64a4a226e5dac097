"""Proof that the ledger says what rating says: `boss replay --check` rates a period again and compares every aggregate.

The same functions that rated the stream run again, over the raw messages or over the usage that the rows tell of. Every row
names the versions of book and roster it was rated by, so an event is rated again by exactly those. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from catalog.versions import load_book, load_roster
from pipelines.account_ranges import by_accounts
from pipelines.posted_usage import (
    EVENT,
    PARTY,
    SUMS,
    posted_usage,
    sold_prices,
    standing_rows,
    sum_payments,
    sum_rows,
    usage_rows,
)
from pipelines.rate_posted import Matched, match_posted, price_posted
from pipelines.workspace import Workspace
from rating.aggregates.points import Points
from rating.counters import Counters
from rating.terms import Terms, compile_terms
from schemas.frames import AMOUNT, FrameSchema
from schemas.ledger import Role, moves_aggregate
from schemas.money import to_amount
from schemas.period import Period

DIFFERENCES = FrameSchema(
    "DIFFERENCES",
    {
        "account_id": pl.String,
        "counted_for": pl.String,
        "price_id": pl.String,
        "price_version": pl.String,
        "usage_period": pl.Date,
        "role": pl.String,
        "partner_id": pl.String,
        "currency": pl.String,
        "ledger_quanta": pl.Int64,  # where the aggregate stands; null: the ledger has no such aggregate
        "replayed_quanta": pl.Int64,  # null: replay has none
        "ledger_amount": AMOUNT,
        "replayed_amount": AMOUNT,
    },
)
"""One row per aggregate, role and partner that replay does not reproduce."""

BEFORE = FrameSchema(
    "BEFORE",
    {
        "event": pl.UInt32,
        "price_id": pl.String,
        "book_version": pl.Int32,  # by which the row that stands was rated; null: all were taken back
        "roster_version": pl.Int32,
        "before_quanta": pl.Int64,  # of that row: they tell the order in which an aggregate was counted
        "after_quanta": pl.Int64,
        "first_book": pl.Int32,  # by which the event was rated when it came
        "first_roster": pl.Int32,
    },
)
"""One row per event and price that has charged it."""

VERSIONS = ["book_version", "roster_version"]


@dataclass(frozen=True)
class Replay:
    """What a replay found."""

    period: Period
    events: int  # that were rated again
    aggregates: int  # that were compared, on either side: one per role and partner
    differences: pl.DataFrame  # DIFFERENCES
    refused: int = 0  # raw events that ended as rejects then and are rejects still
    duplicates: int = 0  # raw events that came again

    @property
    def agrees(self) -> bool:
        return self.differences.is_empty()

    @property
    def message(self) -> str:
        """One sentence for people."""
        beside = [f"{count:,} {what}" for count, what in ((self.duplicates, "duplicates"), (self.refused, "rejects")) if count]
        found = "all agree" if self.agrees else f"{self.differences.height:,} differ"
        return (
            f"{self.period}: {self.events:,} events rated again{''.join(f', {part}' for part in beside)}; "
            f"{self.aggregates:,} aggregates compared, {found}."
        )


class PublishedTerms:
    """Terms of any published book and roster, compiled once each."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._compiled: dict[tuple[int, int], Terms] = {}

    def of(self, versions: tuple[int, int]) -> Terms:
        """Raises Refused when a version is not there."""
        if versions not in self._compiled:
            book = load_book(self._workspace.books, versions[0])
            self._compiled[versions] = compile_terms(book, load_roster(self._workspace.rosters, versions[1]))
        return self._compiled[versions]


def replay_posted(workspace: Workspace, period: Period) -> Replay:
    """Rate the usage of a period's rows again and compare. Reads one snapshot, range of accounts by range of accounts."""
    terms = PublishedTerms(workspace)
    rows = usage_rows(workspace.ledger().postings.scan(), str(period), str(period))
    events, aggregates, differences = 0, 0, [DIFFERENCES.empty()]
    paid, paid_again = sum_payments(workspace.ledger().postings.scan(), str(period)), [SUMS.empty()]
    for part in by_accounts(rows):
        usage = posted_usage(part)
        before = charged_before(part, number_events(usage))
        again = pl.concat([SUMS.empty(), *_replayed(usage, before, sold_prices(part), terms)])
        from_balance = pl.col("role") == Role.BALANCE.value
        paid_again.append(again.filter(from_balance))
        compared = compare_sums(sum_rows(part), again.filter(~from_balance))
        events += usage.select(pl.struct(EVENT).n_unique()).item()
        aggregates += compared.height
        differences.append(differing(compared))
    compared = compare_sums(paid, pl.concat(paid_again))
    aggregates += compared.height
    differences.append(differing(compared))
    return Replay(period, events, aggregates, pl.concat(differences))


def number_events(usage: pl.DataFrame) -> pl.DataFrame:
    """What tells POSTED_USAGE apart, and `event`, its row."""
    return usage.select(*EVENT, "meter_id").with_row_index("event")


def charged_before(rows: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """BEFORE: which prices have charged which events, and by which versions.

    Args:
        rows: POSTINGS of usage events.
        numbers: `event` and the columns of `rows` that tell events apart.
    """
    by = [name for name in numbers.columns if name != "event"]
    columns = [*by, "price_id", *VERSIONS, "before_quanta", "after_quanta"]
    charges = rows.filter(moves_aggregate())
    ever = charges.filter(pl.col("corrects").is_null())
    first = ever if not (restated := ever["stream"].str.starts_with("rerate:")).any() else ever.filter(~restated)
    before = standing_rows(charges).select(columns).join(numbers, on=by).drop(by)
    if before.height < ever.height:
        key = ["event", "price_id"]
        before = ever.select(*by, "price_id").join(numbers, on=by).select(key).unique().join(before, on=key, how="left")
    rated = first.select(*by, first_book="book_version", first_roster="roster_version").join(numbers, on=by).drop(by)
    return BEFORE.select(before.join(rated.unique("event"), on="event", how="left"))


def _replayed(usage: pl.DataFrame, before: pl.DataFrame, sold: pl.DataFrame, terms: PublishedTerms) -> Iterator[pl.DataFrame]:
    """SUMS of the usage, version after version: an aggregate goes on where the version before left it."""
    counters, points = Counters(), Points()
    groups = before.select(VERSIONS).drop_nulls().unique().sort(VERSIONS).rows()
    for versions in groups:
        wanted = before.filter(_is(versions, *VERSIONS)).select(pl.col("event").unique().sort())
        mine, told = usage, before
        if len(groups) > 1:
            mine = usage[wanted["event"]]
            told = before.join(wanted.with_row_index("number"), on="event").drop("event").rename({"number": "event"})
        matched = match_posted(mine, terms.of(versions))
        priced = price_posted(matched, as_charged(matched, told, versions), counters, points, sold)
        if versions != groups[-1]:
            steps = priced.steps(matched.events)
            counters.advance(steps)
            points.advance(steps, matched.terms.meters)
        yield priced.sums()


def as_charged(matched: Matched, before: pl.DataFrame, versions: tuple[int, int]) -> pl.DataFrame:
    """The rows of `matched.charged` that these versions answer for, in the order in which the ledger counted them.

    A price that charged the event by other versions, or that was taken back, is left out. A price that never charged it is
    kept where these versions rated the event first: then the ledger lacks a row.

    Args:
        before: BEFORE of the events matched.
    """
    first = before.filter(_is(versions, "first_book", "first_roster")).select("event", first=pl.lit(True)).unique()
    known = before.drop("first_book", "first_roster").with_columns(known=pl.lit(True))
    placed = matched.charged.with_columns(matched.terms.usage["price_id"].gather(matched.charged["charge"]))
    placed = placed.join(known, on=["event", "price_id"], how="left").join(first, on="event", how="left")
    here, new = _is(versions, *VERSIONS), pl.col("known").is_null() & pl.col("first").fill_null(False)
    kept = placed.filter(here | new).sort("after_quanta", "before_quanta", "event", "charge", nulls_last=True)
    return kept.select(matched.charged.columns)


def _is(versions: tuple[int, int], book: str, roster: str) -> pl.Expr:
    return (pl.col(book) == versions[0]) & (pl.col(roster) == versions[1])


def compare_sums(ledger: pl.DataFrame, replayed: pl.DataFrame) -> pl.DataFrame:
    """Both SUMS side by side, one row per aggregate, role and partner that either has."""
    again = replayed.group_by(PARTY).agg(pl.col("account_id", "currency").min(), pl.col("quanta", "scaled").sum())
    both = ledger.join(again, on=PARTY, how="full", coalesce=True, nulls_equal=True, suffix="_again")
    return both.with_columns(pl.coalesce(name, f"{name}_again").alias(name) for name in ("account_id", "currency"))


def differing(compared: pl.DataFrame) -> pl.DataFrame:
    """DIFFERENCES of what `compare_sums` gave, in order. What the ledger took back as a whole may be absent in replay."""
    moved = pl.any_horizontal(
        pl.col(name).fill_null(0) != pl.col(f"{name}_again").fill_null(0) for name in ("quanta", "scaled")
    )
    missing = pl.col("quanta").is_null()
    return DIFFERENCES.select(
        compared.filter(moved | missing)
        .sort("account_id", *PARTY)
        .rename({"quanta": "ledger_quanta", "quanta_again": "replayed_quanta"})
        .with_columns(
            to_amount(pl.col("scaled")).alias("ledger_amount"), to_amount(pl.col("scaled_again")).alias("replayed_amount")
        )
    )
