"""The points of every running aggregate whose kind needs them, in memory. Rebuilt from the ledger when a worker starts.

A row of the ledger says all that a point is: when its event happened, what it reported, and where the row stands. A row that
`corrects` another takes that one's point away.
"""

from __future__ import annotations

import polars as pl

from rating.aggregates.kinds import KEPT
from rating.aggregates.moves import MOVES
from schemas.frames import FrameSchema
from schemas.ledger import AGGREGATE_KEY, POINT_COLUMNS, POSITION_KEY, POSTINGS, moves_aggregate

POINTS = FrameSchema(
    "POINTS",
    {
        "number": pl.Int64,  # the aggregate
        "row": pl.UInt64,  # hash of the position of its row: 64 bits are enough to tell points of one aggregate apart
        "occurred_at": MOVES.columns["occurred_at"],
        "event_source": pl.String,
        "event_id": pl.String,
        "quantity_quanta": pl.Int64,
        "value": pl.String,
    },
)
"""One row per point."""

_NUMBERS = {name: POSTINGS.columns[name] for name in AGGREGATE_KEY} | {"number": pl.Int64()}
_GROWTH = 4
"""A run is at least so many times as long as the next one; so there are few to search, and each point is moved seldom."""


def kept_meters(meters: pl.DataFrame) -> list[str]:
    """The meters of METERS whose points are kept."""
    return meters.filter(pl.col("aggregation").is_in(list(KEPT)))["meter_id"].to_list()


class Points:
    """POINTS in a few runs sorted by aggregate, and the number of each aggregate."""

    def __init__(self) -> None:
        self._numbers = pl.DataFrame(schema=_NUMBERS)
        self._runs: list[pl.DataFrame] = []

    def __len__(self) -> int:
        return sum(run.height for run in self._runs)

    def load(self, rows: pl.DataFrame) -> None:
        """Replace everything.

        Args:
            rows: POINT_COLUMNS of events of kept meters, shares left out, in any order, with all rows that correct them.
        """
        self._numbers, self._runs = pl.DataFrame(schema=_NUMBERS), []
        self.add(rows)

    def add(self, rows: pl.DataFrame) -> None:
        """Take over the points of aggregates that were not loaded before.

        Args:
            rows: POINT_COLUMNS of events of kept meters, shares left out, in any order, with all that correct them.
        """
        self._take_over(rows)

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        """MOVES with arrival 0: the points of these aggregates, in no order.

        Args:
            keys: `key` and AGGREGATE_KEY, one row per aggregate.
        """
        wanted = keys.join(self._numbers, on=AGGREGATE_KEY).select("key", "number").sort("number")
        found = [MOVES.empty()]
        for run in self._runs:
            first = run["number"].search_sorted(wanted["number"], side="left").alias("first")
            last = run["number"].search_sorted(wanted["number"], side="right").alias("last")
            where = wanted.select("key").with_columns(first, last).filter(pl.col("first") < pl.col("last"))
            rows = where.select("key", row=pl.int_ranges("first", "last")).explode("row")
            points = run.drop("number", "row")[rows["row"]].with_columns(
                rows["key"], arrival=pl.lit(0, pl.Int64), weight=pl.lit(1, pl.Int64)
            )
            found.append(MOVES.select(points))
        return pl.concat(found)

    def advance(self, postings: pl.DataFrame, meters: pl.DataFrame) -> None:
        """Take over the points of these rows, once they are in the ledger.

        Args:
            postings: POSTINGS.
            meters: METERS; rows of meters whose points are not kept say nothing.
        """
        kept = kept_meters(meters)
        if not kept:
            return
        mine = pl.col("meter_id").is_in(kept) & pl.col("event_id").is_not_null()
        self._take_over(postings.filter(mine & moves_aggregate()).select(POINT_COLUMNS))

    def _take_over(self, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            return
        self._number(rows)
        position = pl.concat_str([pl.col(name).cast(pl.String) for name in POSITION_KEY], separator="/")
        placed = rows.join(self._numbers, on=AGGREGATE_KEY).with_columns(row=position.hash())
        gone = placed.filter(pl.col("corrects").is_not_null()).select("number", row=pl.col("corrects").hash())
        added = POINTS.select(placed.filter(pl.col("corrects").is_null()))
        if gone.height:
            added = added.join(gone, on=["number", "row"], how="anti")
            self._runs = [run.join(gone, on=["number", "row"], how="anti", maintain_order="left") for run in self._runs]
            self._runs = [run for run in self._runs if run.height]
        self._add(added)

    def _number(self, rows: pl.DataFrame) -> None:
        """Give every aggregate that is new a number."""
        new = rows.select(AGGREGATE_KEY).unique().join(self._numbers, on=AGGREGATE_KEY, how="anti")
        if new.height:
            numbers = pl.int_range(pl.len(), dtype=pl.Int64) + self._numbers.height
            self._numbers = pl.concat([self._numbers, new.with_columns(number=numbers)])

    def _add(self, added: pl.DataFrame) -> None:
        """Add a sorted run, merged with those that are not much longer. Runs stay ordered, longest first."""
        if added.is_empty():
            return
        added = added.sort("number")
        while self._runs and self._runs[-1].height < _GROWTH * added.height:
            added = pl.concat([self._runs.pop(), added]).sort("number")
        self._runs.append(added)
