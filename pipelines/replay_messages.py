"""Replay from the messages themselves: what was sent, through decoding, against what the ledger says of the period.

An event that the ledger has is rated by the versions its rows name. One that it lacks is rated by the newest, so that it
shows as a difference, unless it is among the rejects: that it was refused is known, and `boss rejects` speaks of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from ledger.book import Ledger
from pipelines.account_ranges import by_accounts
from pipelines.decode import decode_batches
from pipelines.posted_usage import EVENT, SUMS, sum_payments, sum_rows, usage_rows
from pipelines.rate_posted import NOTHING_COVERED, Matched, price_posted
from pipelines.replay import (
    BEFORE,
    DIFFERENCES,
    VERSIONS,
    PublishedTerms,
    Replay,
    as_charged,
    charged_before,
    compare_sums,
    differing,
)
from pipelines.settings import Limits
from pipelines.usage_file import read_usage_file
from pipelines.workspace import Workspace
from rating.aggregates.points import Points
from rating.balance.orders import is_order
from rating.balance.units import less_covered
from rating.counters import Counters
from rating.duplicates import drop_duplicates
from rating.match import match_prices
from rating.measure import measure_usage
from rating.recalled import kept_values
from rating.seen import SeenEvents
from rating.terms import Terms
from schemas.book import Book
from schemas.ledger import Role
from schemas.period import Period
from schemas.usage import RawBatch

CHUNK_EVENTS = 100_000

Versions = tuple[int, int]


def replay_files(workspace: Workspace, period: Period, files: Sequence[Path], received_at_ms: int) -> Replay:
    """Rate the events of these files again and compare what falls into the period with the ledger.

    Raises:
        BadFile: A file cannot be read.
    """
    batches = (
        batch for path in files for batch in read_usage_file(path, chunk_rows=CHUNK_EVENTS, received_at_ms=received_at_ms)
    )
    return replay_batches(workspace, period, batches)


def replay_batches(workspace: Workspace, period: Period, batches: Iterable[RawBatch]) -> Replay:
    """As `replay_files`, of messages in the order in which they were sent."""
    ledger = workspace.ledger()
    told, sums, covered = _read_period(ledger, period)
    again = _Again(workspace, period, told, _rejected_ids(ledger), covered)
    replayed = [SUMS.empty(), *(again.rate(batch) for batch in batches)]
    compared = compare_sums(sums, pl.concat(replayed))
    return Replay(
        period, again.events, compared.height, DIFFERENCES.select(differing(compared)), again.refused, again.duplicates
    )


def _read_period(ledger: Ledger, period: Period) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """BEFORE with `id_hash` in the place of `event`, SUMS, and what units cover by `id_hash` and meter; of the period."""
    covered = [pl.DataFrame(schema={"id_hash": pl.UInt64, "meter_id": pl.String, "covered_quanta": pl.Int64})]
    told, sums = [BEFORE.empty().drop("event").with_columns(id_hash=pl.lit(None, pl.UInt64))], [SUMS.empty()]
    for part in by_accounts(usage_rows(ledger.postings.scan(), str(period), str(period))):
        ids = part.select(EVENT).unique().with_row_index("event")
        hashes = ids.select("event", id_hash=_id_hash())
        told.append(charged_before(part, ids).join(hashes, on="event").select(told[0].columns))
        sums.append(sum_rows(part))
        covered.append(part.filter(pl.col("covered_quanta") != 0).select(_id_hash(), "meter_id", "covered_quanta").unique())
    return pl.concat(told), pl.concat([*sums, sum_payments(ledger.postings.scan(), str(period))]), pl.concat(covered)


def _rejected_ids(ledger: Ledger) -> pl.Series:
    """`id_hash` of every event that was ever rejected."""
    return ledger.rejects.scan().select(EVENT).drop_nulls().collect().select(_id_hash().unique()).to_series()


def _id_hash() -> pl.Expr:
    return (pl.col("event_source").hash(1) + pl.col("event_id").hash(2) * 3).hash(7).alias("id_hash")


class _Again:
    """Rates messages again, batch after batch, each event by the versions that the ledger names for it."""

    def __init__(
        self, workspace: Workspace, period: Period, told: pl.DataFrame, rejected: pl.Series, covered: pl.DataFrame
    ) -> None:
        self._month = str(period)
        self._told = told
        self._known = told["id_hash"].unique()
        self._rejected = rejected
        self._covered = covered
        self._terms = PublishedTerms(workspace)
        self._newest: Versions = workspace.versions()
        self._versions: list[Versions] = sorted({self._newest, *told.select(VERSIONS).drop_nulls().unique().rows()})
        self._book = self._book_of_all(workspace)
        self._limits: Limits = workspace.settings.limits
        self._counters, self._points = Counters(), Points()
        self._seen = {versions: SeenEvents() for versions in self._versions}
        self.events, self.refused, self.duplicates = 0, 0, 0

    def rate(self, batch: RawBatch) -> pl.DataFrame:
        """SUMS of the batch's events of the period."""
        limits = self._limits
        decoded = decode_batches(
            [batch], self._book, max_event_bytes=limits.max_event_bytes, clock_skew_seconds=limits.clock_skew_seconds
        )
        events = _without_retractions(decoded.events).with_columns(_id_hash())
        known = events["id_hash"].is_in(self._known.implode())
        refused = ~known & events["id_hash"].is_in(self._rejected.implode())
        self.refused += decoded.rejects.height + int(refused.sum())
        self.events += int(known.sum())
        sums = [SUMS.empty()]
        for versions in self._versions:
            theirs = self._told.filter(pl.col("book_version") == versions[0], pl.col("roster_version") == versions[1])
            wanted = events["id_hash"].is_in(theirs["id_hash"].unique().implode())
            if versions == self._newest:
                wanted = wanted | (~known & ~refused)
            sums.append(self._rate(events.filter(wanted), versions))
        return pl.concat(sums)

    def _rate(self, events: pl.DataFrame, versions: Versions) -> pl.DataFrame:
        terms, seen = self._terms.of(versions), self._seen[versions]
        numbered = events.with_row_index("event")
        found = match_prices(numbered, measure_usage(numbered, terms.meters), terms)
        fresh = drop_duplicates(numbered, found.charged, terms, seen)
        self.duplicates += fresh.duplicates
        self.events -= fresh.duplicates
        matched = Matched(terms, numbered, self._less_covered(fresh.charged, numbered, terms), found.rejected, NOTHING_COVERED)
        before = numbered.select("event", "id_hash").join(self._told, on="id_hash", how="left", maintain_order="left")
        new = pl.col("price_id").is_null()
        first = [
            pl.when(new).then(number).otherwise(name).cast(pl.Int32).alias(name)
            for name, number in zip(_FIRST, versions, strict=True)
        ]
        charged = as_charged(matched, BEFORE.select(before.with_columns(first)), versions)
        priced = price_posted(matched, charged, self._counters, self._points)
        steps = priced.steps(numbered)
        self._counters.advance(steps)
        self._points.advance(steps, terms.meters)
        seen.remember(_contents(numbered, fresh.charged, terms))
        return priced.sums().filter(pl.col("usage_period").dt.strftime("%Y-%m") == self._month)

    def _less_covered(self, charged: pl.DataFrame, events: pl.DataFrame, terms: Terms) -> pl.DataFrame:
        """CHARGED without what the ledger says that units paid in advance stand for."""
        if self._covered.is_empty():
            return charged
        keys = charged.select("event", "meter").unique()
        named = keys.with_columns(
            events["id_hash"].gather(keys["event"]), terms.meters["meter_id"].gather(keys["meter"]).alias("meter_id")
        )
        covered = named.join(self._covered, on=["id_hash", "meter_id"]).select("event", "meter", more="covered_quanta")
        return less_covered(charged, covered, terms)

    def _book_of_all(self, workspace: Workspace) -> Book:
        """The newest book with the meters of all versions, so that every property that one of them reads is decoded."""
        meters = [self._terms.of(versions).meters.drop("meter") for versions in self._versions]
        return replace(workspace.load()[0], meters=pl.concat(meters))


_FIRST = ("first_book", "first_roster")
_RETRACTS = "retracts"
"""Column of what an event takes back, where messages may carry that."""


def _without_retractions(events: pl.DataFrame) -> pl.DataFrame:
    """The events that measure something. What others took back, the ledger tells: those have no row that stands."""
    measuring = events.filter(~is_order())
    return measuring.filter(pl.col(_RETRACTS).is_null()) if _RETRACTS in events.columns else measuring


def _contents(events: pl.DataFrame, charged: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """What `SeenEvents` remembers of charged events: what the customer was charged for."""
    if terms.is_cost is not None:
        charged = charged.filter(~terms.is_cost.gather(charged["charge"]))
    payers = terms.usage.select("subscription_id", "meter_id")[charged["charge"]]
    ids = events.select("stream", *EVENT)[charged["event"]]
    values = kept_values(charged, events, terms.meters).to_frame()
    told = charged.select("occurred_at", "quantity_quanta", "reported_quanta")
    rows = pl.concat([told, payers, ids, values], how="horizontal")
    return rows.with_columns(role=pl.lit(Role.REVENUE.value), corrects=pl.lit(None, pl.String))
