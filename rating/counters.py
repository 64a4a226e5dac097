"""Where every running aggregate stands, in memory. Rebuilt from the ledger when a worker starts, never stored on its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.compiled import compiled
from rating.numbers import Keys, NumberedKeys, NumberedNames, Numbers
from schemas.errors import BrokenPromise
from schemas.ledger import AGGREGATE_KEY, moves_aggregate

_COUNTED_FOR, _PRICE = AGGREGATE_KEY[:1], AGGREGATE_KEY[1:3]
_DAY_BITS = 24
_GROWTH = 1.5


class Counters:
    """Per AGGREGATE_KEY a whole number of quanta and the number of rows that made it; one that has not begun has neither.

    Who is counted for and price versions are numbered once, whatever book or roster they come from. A pair of them has a
    number too, and an aggregate is one 64-bit key: that number and the first day of the period. So a batch costs the same
    however many aggregates there are, and a new book or roster changes nothing.
    """

    def __init__(self) -> None:
        self._counted_for = NumberedNames(_COUNTED_FOR)
        self._prices = NumberedNames(_PRICE)
        self._pairs = NumberedKeys()
        self._aggregates = NumberedKeys()
        self._standing: npt.NDArray[np.int64] = np.empty((0, 2), np.int64)  # quanta and rows, by number of the aggregate
        self._laps: npt.NDArray[np.int16] = np.empty(0, np.int16)  # how often following rows went round 64 bits

    def __len__(self) -> int:
        return len(self._aggregates)

    @property
    def nbytes(self) -> int:
        """Memory that the aggregates' keys and numbers take, without the names of subscriptions and prices."""
        return self._aggregates.nbytes + self._pairs.nbytes + self._standing.nbytes + self._laps.nbytes

    def load(self, totals: pl.DataFrame) -> None:
        """Replace everything.

        Args:
            totals: AGGREGATE_KEY, `after_quanta` and `events`, one row per aggregate.
        """
        self.__init__()  # type: ignore[misc]
        self.add(totals)

    def add(self, totals: pl.DataFrame) -> None:
        """Take over aggregates that were not loaded before.

        Args:
            totals: AGGREGATE_KEY, `after_quanta` and `events`, one row per aggregate.
        """
        self._move(totals, totals["after_quanta"], totals["events"])

    def follow(self, rows: pl.DataFrame) -> None:
        """Take over rows of the ledger that were not followed before. When all are, `beyond` says whether they fit.

        Steps of one aggregate may come in any order, so on the way their sum may leave 64 bits and come back.

        Args:
            rows: AGGREGATE_KEY, `before_quanta`, `after_quanta` and `corrects` of rows that events made, shares left out. Quick
                where rows of one aggregate stand together, as in the files of the ledger.
        """
        if rows.is_empty():
            return
        begins = rows.select(pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in AGGREGATE_KEY))
        starts = begins.to_series().arg_true()
        taken_back = rows["corrects"].is_not_null() if rows["corrects"].null_count() < rows.height else starts.clear()
        _follow(
            self._numbers(rows.select(pl.col(AGGREGATE_KEY).gather(starts))),
            starts.append(pl.Series([rows.height], dtype=starts.dtype)).to_numpy(),
            rows["before_quanta"].fill_null(0).to_numpy(),
            rows["after_quanta"].to_numpy(),
            taken_back.cast(pl.Int8).to_numpy(),
            self._standing,
            self._laps,
        )

    def beyond(self) -> bool:
        """Whether an aggregate's rows, followed up to here, add up to more than 64 bits hold."""
        return bool(self._laps.any())

    def before(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Where each aggregate stands: `after_quanta` and `events`, in the order of `keys`.

        An aggregate that has not begun has a null `after_quanta` and 0 `events`.

        Args:
            keys: AGGREGATE_KEY.
        """
        pair = self._pairs.find(_pair_keys(self._counted_for.find(keys), self._prices.find(keys)))
        found = self._aggregates.find(_aggregate_keys(pair, keys["usage_period"]))
        standing = np.empty((2, len(found)), np.int64)
        _read(self._standing, found, standing[0], standing[1])
        frame = pl.DataFrame({"after_quanta": standing[0], "events": standing[1]})
        return frame.with_columns(pl.when(pl.col("events") > 0).then("after_quanta").alias("after_quanta"))

    def advance(self, postings: pl.DataFrame) -> None:
        """Take over the state after these rows, once they are in the ledger.

        Args:
            postings: POSTINGS. Each row moves its aggregate from before to after, so the steps add up to where it stands; a
                row that takes another back counts against it.
        """
        told = postings.select(*AGGREGATE_KEY, "before_quanta", "after_quanta", "corrects", "role", "event_id")
        usage = told.filter(moves_aggregate() & pl.col("event_id").is_not_null())
        events = usage.select(pl.when(pl.col("corrects").is_null()).then(1).otherwise(-1).cast(pl.Int64)).to_series()
        self._move(usage, usage["after_quanta"] - usage["before_quanta"], events)

    def _move(self, keys: pl.DataFrame, quanta: pl.Series, events: pl.Series) -> None:
        """Add `quanta` and `events` to the aggregates of `keys`, row by row."""
        if keys.is_empty():
            return
        aggregate = self._numbers(keys)
        _move(self._standing, aggregate, quanta.cast(pl.Int64).to_numpy(), events.cast(pl.Int64).to_numpy())

    def _numbers(self, keys: pl.DataFrame) -> Numbers:
        """The number of each row's aggregate; a new one gets the next, and stands at nothing."""
        pair = self._pairs.add(_pair_keys(self._counted_for.add(keys), self._prices.add(keys)))
        aggregate = self._aggregates.add(_aggregate_keys(pair, keys["usage_period"]))
        if len(self) > len(self._standing):
            size = max(len(self), int(len(self._standing) * _GROWTH))
            standing, laps = np.zeros((size, 2), np.int64), np.zeros(size, np.int16)
            standing[: len(self._standing)], laps[: len(self._laps)] = self._standing, self._laps
            self._standing, self._laps = standing, laps
        return aggregate


def _pair_keys(counted_for: pl.Series, price: pl.Series) -> Keys:
    """The number of who is counted for in the high bits, the price's in the low; where one is unknown a key that nobody has."""
    return (counted_for * (1 << 32) + price).to_numpy().view(np.uint64)


def _aggregate_keys(pair: Numbers, usage_period: pl.Series) -> Keys:
    """The pair's number in the high bits, the period's day in the low; of an unknown pair a key that nobody has."""
    day = usage_period.to_physical().cast(pl.Int64) + (1 << (_DAY_BITS - 1))
    if not day.is_between(0, (1 << _DAY_BITS) - 1).all():
        raise BrokenPromise("a usage period starts beyond the days that counters tell apart")
    return (pl.Series(pair).cast(pl.Int64) * (1 << _DAY_BITS) + day).to_numpy().view(np.uint64)


@compiled
def _read(
    standing: npt.NDArray[np.int64], found: Numbers, quanta: npt.NDArray[np.int64], events: npt.NDArray[np.int64]
) -> None:
    for i in range(len(found)):
        number = found[i]
        quanta[i] = standing[number, 0] if number >= 0 else 0
        events[i] = standing[number, 1] if number >= 0 else 0


@compiled
def _move(
    standing: npt.NDArray[np.int64], moved: Numbers, quanta: npt.NDArray[np.int64], events: npt.NDArray[np.int64]
) -> None:
    for i in range(len(moved)):
        standing[moved[i], 0] += quanta[i]
        standing[moved[i], 1] += events[i]


@compiled
def _follow(
    aggregate: Numbers,
    starts: npt.NDArray[np.uint32],
    before: npt.NDArray[np.int64],
    after: npt.NDArray[np.int64],
    taken_back: npt.NDArray[np.int8],
    standing: npt.NDArray[np.int64],
    laps: npt.NDArray[np.int16],
) -> None:
    """Row by row; rows from one of `starts` to the next are of one aggregate. Without `taken_back` none takes another back."""
    for place in range(len(aggregate)):
        number = aggregate[place]
        quanta, events = standing[number, 0], standing[number, 1]
        for i in range(starts[place], starts[place + 1]):
            left = quanta - before[i]  # wraps beyond 64 bits, as does the next step
            if (quanta < 0) != (before[i] < 0) and (left < 0) != (quanta < 0):
                laps[number] += 1 if quanta >= 0 else -1
            quanta = left + after[i]
            if (left < 0) == (after[i] < 0) and (quanta < 0) != (left < 0):
                laps[number] += 1 if left >= 0 else -1
            events += -1 if len(taken_back) > 0 and taken_back[i] else 1
        standing[number, 0], standing[number, 1] = quanta, events
