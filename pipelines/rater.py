"""The one road from messages to the ledger, shared by the stream and by files.

    read (decode) -> rate -> append rejects -> append postings with the new positions -> only then remember

Counters and the memory of event ids (pipelines/remembered.py) are never stored on their own: they are rebuilt from the ledger
when sources are assigned, so row, counter and position become true in one commit.

A batch may be read while the one before it is being rated, and rated while that is still being committed (`Rater.read`). It
counts on from what the earlier ones will have made of the counters; when one of their commits fails its own is refused, because
the ledger does not stand where it expects.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import polars as pl

from ledger.book import Ledger
from ledger.state import PostedRows, reject_keys
from ledger.table import source_id
from pipelines.decode import Decoded, decode_batches
from pipelines.partitions import owners_of
from pipelines.remembered import Remembered
from pipelines.settings import Limits
from pipelines.topic_life import Topic, keep_life
from rating.batch import Rated, rate_batch
from rating.ownership import Owners
from rating.terms import Terms, compile_terms
from schemas.balance import SESSION
from schemas.book import Book
from schemas.ledger import Role
from schemas.roster import Roster
from schemas.usage import REJECTS, RawBatch

Source = tuple[str, int]
"""A stream and its partition."""


class Published(Protocol):
    """Where the newest book and roster come from; a Workspace is one."""

    def versions(self) -> tuple[int, int]: ...

    def load(self) -> tuple[Book, Roster]: ...


@dataclass(frozen=True)
class RateResult:
    """What became of a number of messages."""

    events: int = 0
    postings: int = 0
    duplicates: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Rejected events by reason."""
    commit_seconds: float = 0.0
    notices: pl.DataFrame | None = field(default=None, compare=False)
    """POSTINGS of what is to be told about balances; None where there is nothing."""

    def plus(self, other: RateResult) -> RateResult:
        return RateResult(
            self.events + other.events,
            self.postings + other.postings,
            self.duplicates + other.duplicates,
            dict(Counter(self.rejects) + Counter(other.rejects)),
            self.commit_seconds + other.commit_seconds,
        )


@dataclass(frozen=True)
class _Published:
    """The versions that messages are read and rated by."""

    versions: tuple[int, int]
    book: Book
    terms: Terms
    owners: Owners | None


@dataclass(frozen=True)
class _Read:
    """Messages that were decoded, and what has to be in the ledger before and will be after them."""

    decoded: Decoded
    published: _Published
    expected: Mapping[Source, int | None]
    reached: Mapping[Source, int]


@dataclass(frozen=True)
class _Batch:
    """Messages that were rated, and what has to be in the ledger before and will be after them. Their events are let go."""

    rated: Rated
    terms: Terms
    rejects: pl.DataFrame
    events: int
    expected: Mapping[Source, int | None]
    reached: Mapping[Source, int]
    committed: Future[None]


Commit = Callable[[], RateResult]
"""Commits a batch that was rated, in whatever thread, once and before that of the batch after it."""

Rate = Callable[[], Commit]
"""Rates a batch that was read, in whatever thread, once and before that of the batch after it."""


class Rater:
    """Rates messages of the sources it was assigned and appends them, each exactly once."""

    def __init__(self, published: Published, ledger: Ledger, limits: Limits) -> None:
        self._published = published
        self._ledger = ledger
        self._limits = limits
        self._positions: dict[Source, int | None] = {}  # what has been read up to
        self._newest: _Batch | None = None  # not remembered yet
        self._committed: Future[None] | None = None  # of the batch that was rated last
        self._posted = ledger.postings.reader(self._wait_for_commit)  # for the thread that rates
        self._remembered = Remembered(self._posted, limits.remember_months)
        self._compiled: _Published | None = None
        self._partitions: int | None = None

    def assign(self, sources: Sequence[Source], topic: Topic | None = None) -> dict[Source, int | None]:
        """Take over these sources, and only these: rebuild counters and ids from the ledger.

        What was read and not committed is forgotten. Returns the last position the ledger has of each, None where it has none.

        Args:
            topic: The topic they are partitions of, which other workers may read too; None: nobody else rates.

        Raises:
            StreamMoved: The ledger has positions of another life of the topic.
        """
        self._ledger.postings.join(alone=topic is None)
        if topic is not None:
            keep_life(self._ledger.postings, topic)
        partitions = None if topic is None else topic.life.partitions
        if partitions != self._partitions:  # otherwise what is compiled holds for whatever sources we get
            self._compiled = None
        self._partitions = partitions
        self._newest = self._committed = None
        self._positions = {source: self._posted.position(source_id(*source)) for source in sources}
        self._remembered.rebuild()
        return dict(self._positions)

    def process(self, batches: Sequence[RawBatch]) -> RateResult:
        """Rate the messages the ledger does not have yet and commit them with their positions.

        Raises:
            Fenced: Another writer advanced one of the sources; nothing of these messages was posted by this call.
            LedgerUnwritable: The folder cannot be written; nothing was posted.
        """
        before = dict(self._positions)
        try:
            result = self.read(batches)()()
        except BaseException:
            self._positions, self._newest, self._committed = before, None, None
            raise
        self._remember_newest()
        return result

    def read(self, batches: Sequence[RawBatch]) -> Rate:
        """Decode the messages after those that were read before. What it returns rates them; what that returns commits them.

        All three raise as `process` does. After one has failed only `assign` goes on.
        """
        fresh = [batch for batch in map(self._new_part, batches) if len(batch)]
        if not fresh:
            return lambda: RateResult
        published = self._newest_published()
        decoded = decode_batches(
            fresh,
            published.book,
            max_event_bytes=self._limits.max_event_bytes,
            clock_skew_seconds=self._limits.clock_skew_seconds,
            also=(SESSION,) if published.terms.has_prepaid else (),
        )
        reached = _reached(fresh)
        expected = {source: self._positions[source] for source in reached}
        self._positions.update(reached)
        return partial(self._rate, _Read(decoded, published, expected, reached))

    def _rate(self, read: _Read) -> Commit:
        self._remember_newest()
        batch = self._rated(read)
        self._newest, self._committed = batch, batch.committed
        return partial(self._commit, batch)

    def _rated(self, read: _Read) -> _Batch:
        decoded, terms = read.decoded, read.published.terms
        known = self._remembered
        known.reach_back(decoded.events, terms)
        posted = PostedRows(self._posted)
        rated = rate_batch(
            decoded.events,
            terms,
            known.counters,
            known.seen,
            known.points(terms),
            posted=posted,
            balances=known.balances,
            owners=read.published.owners,
        )
        versions = pl.lit(terms.book_version, pl.Int32), pl.lit(terms.roster_version, pl.Int32)
        unread = decoded.rejects.with_columns(book_version=versions[0], roster_version=versions[1])
        return _Batch(
            rated=rated,
            terms=terms,
            rejects=pl.concat([REJECTS.select(unread), rated.rejects]),
            events=decoded.events.height + decoded.rejects.height,
            expected=read.expected,
            reached=read.reached,
            committed=Future(),
        )

    def _remember_newest(self) -> None:
        """Take over the batch rated last. When it begins a month, memory is rebuilt, and that waits for its commit."""
        if self._newest is not None:
            self._remembered.advance(self._newest.rated, self._newest.terms)
            self._newest = None

    def _wait_for_commit(self) -> None:
        """What the ledger has must not depend on how far a commit has come. Raises what made the commit fail."""
        if self._committed is not None:
            self._committed.result()

    def _newest_published(self) -> _Published:
        """The newest published versions; compiled again only when one was published since the last batch."""
        versions = self._published.versions()
        if self._compiled is None or self._compiled.versions != versions:
            book, roster = self._published.load()
            terms = compile_terms(book, roster)
            owners = None if self._partitions is None else owners_of(terms, roster, self._partitions)
            self._compiled = _Published((book.version, roster.version), book, terms, owners)
        return self._compiled

    def _new_part(self, batch: RawBatch) -> RawBatch:
        """The messages after the ledger's position: a broker may deliver again what was committed."""
        have = self._positions[batch.stream, batch.partition]
        if have is None or not len(batch) or batch.offsets[0] > have:
            return batch
        first = next((i for i, offset in enumerate(batch.offsets) if offset > have), len(batch))
        return replace(
            batch,
            offsets=batch.offsets[first:],
            values=batch.values[first:],
            received_at_ms=batch.received_at_ms[first:],
            headers=None if batch.headers is None else batch.headers[first:],
        )

    def _commit(self, batch: _Batch) -> RateResult:
        """Rejects first, so that no event can be past without a trace; then postings and positions, in one commit."""
        started = time.perf_counter()
        try:
            self._append_rejects(batch)
            self._ledger.postings.append(
                batch.rated.postings,
                expected={source_id(*source): position for source, position in batch.expected.items()},
                reached={source_id(*source): offset for source, offset in batch.reached.items()},
            )
        except BaseException as error:
            batch.committed.set_exception(error)
            raise
        batch.committed.set_result(None)
        return RateResult(
            events=batch.events,
            postings=batch.rated.postings.height,
            duplicates=batch.rated.duplicates,
            rejects=dict(batch.rejects["reason"].value_counts().iter_rows()),
            commit_seconds=time.perf_counter() - started,
            notices=batch.rated.postings.filter(pl.col("role") == Role.NOTICE.value) if batch.terms.has_prepaid else None,
        )

    def _append_rejects(self, batch: _Batch) -> None:
        """Append what the rejects table does not have: after a crash between the two commits it is ahead of the ledger."""
        rejects = batch.rejects
        if rejects.is_empty():
            return
        table = self._ledger.rejects
        origin = ["stream", "stream_partition", "stream_offset", "event_index"]
        expected = {source: table.position(source_id(*source)) for source in batch.reached}
        for (stream, partition), position in expected.items():
            have = batch.expected[stream, partition]
            if position is not None and (have is None or position > have):
                known = reject_keys(table, stream, partition, -1 if have is None else have)
                rejects = rejects.join(known, on=origin, how="anti", maintain_order="left")
        after = {source: max(offset, expected[source] or 0) for source, offset in batch.reached.items()}
        table.append(
            rejects,
            expected={source_id(*source): position for source, position in expected.items()},
            reached={source_id(*source): offset for source, offset in after.items()},
        )


def _reached(batches: Sequence[RawBatch]) -> dict[Source, int]:
    """The last offset per source."""
    return {(batch.stream, batch.partition): batch.offsets[-1] for batch in batches}


ProgressReport = Callable[[RateResult], None]
"""Called after every commit with the totals so far."""
