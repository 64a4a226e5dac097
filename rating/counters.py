"""Where every running aggregate stands, in memory. Rebuilt from the ledger when a worker starts, never stored on its own."""

from __future__ import annotations

import polars as pl

from schemas.ledger import AGGREGATE_KEY, Role

_STANDING = {"after_quanta": pl.Int64(), "events": pl.Int64()}
_TOTALS = {
    "subscription_id": pl.String(),
    "price_id": pl.String(),
    "price_version": pl.String(),
    "usage_period": pl.Date(),
} | _STANDING


class Counters:
    """Per AGGREGATE_KEY a whole number of quanta and the number of rows that made it; one that has not begun has neither."""

    def __init__(self) -> None:
        self._totals = pl.DataFrame(schema=_TOTALS)

    def __len__(self) -> int:
        return self._totals.height

    def load(self, totals: pl.DataFrame) -> None:
        """Replace everything.

        Args:
            totals: AGGREGATE_KEY, `after_quanta` and `events`, one row per aggregate.
        """
        self._totals = totals.select(pl.col(name).cast(dtype) for name, dtype in _TOTALS.items())

    def before(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Where each aggregate stands: `after_quanta` and `events`, in the order of `keys`.

        An aggregate that has not begun has a null `after_quanta` and 0 `events`.

        Args:
            keys: AGGREGATE_KEY, each at most once.
        """
        found = keys.select(AGGREGATE_KEY).join(self._totals, on=AGGREGATE_KEY, how="left", maintain_order="left")
        return found.select("after_quanta", pl.col("events").fill_null(0))

    def advance(self, postings: pl.DataFrame) -> None:
        """Take over the state after these rows, once they are in the ledger.

        Args:
            postings: POSTINGS. Each row moves its aggregate from before to after, so the steps add up to where it stands.
        """
        usage = postings.filter((pl.col("role") == Role.REVENUE.value) & pl.col("event_id").is_not_null())
        if usage.is_empty():
            return
        step = pl.col("after_quanta") - pl.col("before_quanta")
        moved = usage.select(*AGGREGATE_KEY, after_quanta=step, events=pl.lit(1, pl.Int64))
        touched = self._totals.join(moved, on=AGGREGATE_KEY, how="semi")
        reached = pl.concat([touched, moved]).group_by(AGGREGATE_KEY).agg(pl.col(*_STANDING).sum())
        others = self._totals.join(moved, on=AGGREGATE_KEY, how="anti")
        self._totals = pl.concat([others, reached.select(list(_TOTALS))])
