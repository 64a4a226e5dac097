"""What rating remembers of the ledger: where running aggregates stand, which events were charged, and points of single events.

Balances are known whole. Of usage the newest months are in memory; how many is `limits.remember_months`. Older usage comes
seldom: then what the ledger holds of the accounts in question is read once, so that a late event, a repeated one or a
retraction of last year is treated like any other, and memory does not grow with the years.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import polars as pl
import structlog

from ledger.state import Part, aggregate_points, balance_moves, charged_events, newest_month, order_ids, usage_rows
from ledger.table import LedgerTable
from pipelines.account_ranges import group_links, linked_accounts, posted_links
from rating.aggregates.points import Points, kept_meters
from rating.balance.accounts import Balances
from rating.batch import Rated
from rating.counters import Counters
from rating.seen import SeenEvents
from rating.terms import Terms
from schemas.errors import BrokenPromise
from schemas.ledger import BALANCE_ROLES
from schemas.period import Period
from schemas.usage import RETRACTS

log = structlog.stdlib.get_logger("boss.rater")

Item = TypeVar("Item")


class Remembered:
    """The memory of one rater; never stored, always rebuilt from the ledger."""

    def __init__(self, postings: LedgerTable, months: int) -> None:
        self._postings = postings
        self._months = months
        self._newest: str | None = None
        self._since: str | None = None  # usage months before this one are known of single accounts only
        self._complete: set[str] = set()  # these accounts
        self._version: int | None = None  # of the ledger that is remembered, while nothing else is
        self.counters, self.seen, self.balances = Counters(), SeenEvents(), Balances()
        self._points: Points | None = None  # which are needed says the book

    def rebuild(self) -> None:
        """Read everything again from the ledger, unless nothing has moved since: sources may be assigned twice."""
        started = time.perf_counter()
        version = self._postings.version()
        if version == self._version:
            return
        self._version = None
        self._newest = newest_month(self._postings)
        self._since = None if self._newest is None else str(Period.parse(self._newest).plus(-self._months))
        self._complete = set()
        self.counters, self.seen, self._points = Counters(), SeenEvents(), None
        rows = self._rows_since()
        self.seen.reserve(rows)
        self._read(Part(since=self._since))
        self.seen.add(order_ids(self._postings))
        self.balances.load(balance_moves(self._postings))
        self._version = version
        if not structlog.is_configured():
            return  # a command, not a worker: nobody reads a log
        log.info(
            "remembering",
            since=self._since,
            months=self._months,
            rows=rows,
            events=len(self.seen),
            aggregates=len(self.counters),
            megabytes=round((self.seen.nbytes + self.counters.nbytes) / 1e6, 1),
            seconds=round(time.perf_counter() - started, 1),
        )

    def points(self, terms: Terms) -> Points:
        """The points of aggregates that need them, of the months in memory."""
        if self._points is None:
            self._points = Points()
            self._points.load(aggregate_points(self._postings, kept_meters(terms.meters), Part(since=self._since)))
        return self._points

    def reach_back(self, events: pl.DataFrame, terms: Terms) -> None:
        """Read what is needed of months before those in memory, if these events may belong to one.

        Args:
            events: EVENTS, with or without `retracts`. What a retraction takes back may be of any age.
        """
        self._version = None  # what is about to be rated may never be committed
        if self._since is None:
            return
        # A usage period may have begun in the month before; no zone is more than a day away from UTC.
        edge = pl.lit(Period.parse(self._since).next().first_day).cast(pl.Datetime("us", "UTC")) + pl.duration(days=1)
        old = pl.col("occurred_at") < edge
        if RETRACTS in events.columns:
            old = old | pl.col(RETRACTS).is_not_null()
        subjects = events.filter(old).select(identifier="subject").unique()
        if subjects.is_empty():
            return
        payers = terms.usage.lazy().select("holder", "account_id").unique()
        found = subjects.lazy().join(terms.holders.lazy(), on="identifier").join(payers, on="holder").select("account_id")
        wanted = set(found.unique().collect()["account_id"]) - self._complete
        if not wanted:
            return
        accounts = sorted(self._with_groups(wanted, terms) - self._complete)
        part = Part(before=self._since, accounts=accounts)
        points = self.points(terms)
        self._read(part)
        points.add(aggregate_points(self._postings, kept_meters(terms.meters), part))
        self._complete.update(accounts)

    def advance(self, rated: Rated, terms: Terms) -> None:
        """Take over what was rated, once it is in the ledger. When a new month begins, the oldest one is let go."""
        self._version = None
        self.counters.advance(rated.postings)
        self.seen.remember(rated.postings)
        moves = rated.postings.filter(pl.col("role").is_in(BALANCE_ROLES))
        if moves.height:
            self.balances.advance(moves)
            self.seen.remember_orders(moves)
        self.points(terms).advance(rated.postings, terms.meters)
        newest = rated.postings["usage_month"].max()
        if newest is None or (self._newest is not None and str(newest) <= self._newest):
            return
        if self._newest is None:
            self._newest, self._since = str(newest), str(Period.parse(str(newest)).plus(-self._months))
            return
        self.rebuild()

    def _read(self, part: Part) -> None:
        """Take over counters and ids of rows that were not read before, in one pass; only few files are in memory at a time.

        Raises:
            BrokenPromise: The steps of one aggregate add up to more than 64 bits hold.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="counting") as thread:
            for rows in _read_ahead(usage_rows(self._postings, part)):
                counted = thread.submit(self.counters.follow, rows)
                self.seen.add(charged_events(rows))
                counted.result()
        if self.counters.beyond():
            raise BrokenPromise(f"an aggregate of {self._postings.path} is beyond 64 bits")

    def _with_groups(self, accounts: set[str], terms: Terms) -> set[str]:
        """The accounts, and all whose old usage may have added up with theirs: a total is known with all of its rows only."""
        links = group_links(terms)
        if links.is_empty():
            return accounts
        old = self._postings.scan().filter(pl.col("usage_month") < self._since)
        return linked_accounts(accounts, pl.concat([links, posted_links(old)]))

    def _rows_since(self) -> int:
        """Rows of the months in memory: at least as many as events to remember."""
        files = self._postings.describe_files()
        return int(files.filter(pl.col("folder") >= self._since)["rows"].sum()) if self._since else 0


def _read_ahead(frames: Iterable[Item]) -> Iterator[Item]:
    """The same, each read while the one before is used."""
    waiting = iter(frames)
    with ThreadPoolExecutor(1, thread_name_prefix="reading") as thread:
        following = thread.submit(next, waiting, None)
        while (frame := following.result()) is not None:
            following = thread.submit(next, waiting, None)
            yield frame
