"""Where every running aggregate stands, in memory. Rebuilt from the ledger when a worker starts, never stored on its own."""

from __future__ import annotations

import polars as pl

from schemas.ledger import AGGREGATE_KEY, Role

_TOTALS = {
    "subscription_id": pl.String(),
    "price_id": pl.String(),
    "price_version": pl.String(),
    "usage_period": pl.Date(),
    "after_quanta": pl.Int64(),
}


class Counters:
    """One whole number of quanta per AGGREGATE_KEY; an aggregate that has not begun has none."""

    def __init__(self) -> None:
        self._totals = pl.DataFrame(schema=_TOTALS)

    def __len__(self) -> int:
        return self._totals.height

    def load(self, totals: pl.DataFrame) -> None:
        """Replace everything.

        Args:
            totals: AGGREGATE_KEY and `after_quanta`, one row per aggregate.
        """
        self._totals = totals.select(pl.col(name).cast(dtype) for name, dtype in _TOTALS.items())

    def before(self, keys: pl.DataFrame) -> pl.Series:
        """`after_quanta` of each key, in the order of `keys`; null for an aggregate that has not begun.

        Args:
            keys: AGGREGATE_KEY, each at most once.
        """
        found = keys.select(AGGREGATE_KEY).join(self._totals, on=AGGREGATE_KEY, how="left", maintain_order="left")
        return found["after_quanta"]

    def advance(self, postings: pl.DataFrame) -> None:
        """Take over the state after these rows, once they are in the ledger.

        Args:
            postings: POSTINGS. Aggregates only grow, so the largest `after_quanta` is the last.
        """
        usage = postings.filter((pl.col("role") == Role.REVENUE.value) & pl.col("event_id").is_not_null())
        if usage.is_empty():
            return
        reached = usage.group_by(AGGREGATE_KEY).agg(pl.col("after_quanta").max())
        others = self._totals.join(reached, on=AGGREGATE_KEY, how="anti")
        self._totals = pl.concat([others, reached.select(list(_TOTALS))])
