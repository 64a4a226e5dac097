"""Which events were charged before, and with which content: 16 bytes an event, whatever its id looks like.

Of an event two 64-bit hashes are kept: of (source, id), and of what was charged (subscription, time, meter, quantity). Two
different ids share a hash once in 2^64; such an event is not lost: its content differs too, so it becomes a reject with a
reason. Hashes are of this process and version; they are never stored.
"""

from __future__ import annotations

import polars as pl

from schemas.ledger import Role

CONTENT = ["subscription_id", "occurred_at", "meter_id", "quantity_quanta"]
"""What two deliveries of one event must agree on, besides source and id."""

_GROWTH = 4
"""A run is at least so many times as long as the next one; so there are few to search, and each hash is moved seldom."""


def fingerprint_events(rows: pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """One row per event: `id_hash` and `content_hash` (UInt64).

    Args:
        rows: `event_source`, `event_id` and CONTENT, one row or more per event and meter.
        by: Column that tells events apart, returned too; None is their id, as in the ledger.
    """
    sums = [pl.col(name).hash(seed) * factor for name, seed, factor in zip(CONTENT, (3, 4, 5, 6), (1, 3, 5, 7), strict=True)]
    hashed = rows.select(
        *([by] if by else []),
        id_hash=(pl.col("event_source").hash(1) + pl.col("event_id").hash(2) * 3).hash(7),
        content_hash=pl.sum_horizontal(sums).hash(8),
    ).unique()
    if not hashed[by or "id_hash"].is_duplicated().any():
        return hashed
    return hashed.group_by(list(dict.fromkeys([by or "id_hash", "id_hash"]))).agg(pl.col("content_hash").sum())


class SeenEvents:
    """The hashes of all charged events, in a few sorted runs that are searched and merged."""

    def __init__(self) -> None:
        self._runs: list[pl.DataFrame] = []

    def __len__(self) -> int:
        return sum(run.height for run in self._runs)

    def load(self, ids: pl.DataFrame) -> None:
        """Replace everything.

        Args:
            ids: `event_source`, `event_id` and CONTENT, one row per charged event and meter.
        """
        self._runs = []
        self._add(fingerprint_events(ids))

    def check(self, id_hashes: pl.Series) -> pl.Series:
        """The content hash an event of this id was charged with, in the order of `id_hashes`; null for new ones."""
        known = pl.Series("known", [None], pl.UInt64).new_from_index(0, len(id_hashes))
        for run in self._runs:
            place = run["id_hash"].search_sorted(id_hashes, side="left").clip(upper_bound=run.height - 1)
            hit = run["id_hash"].gather(place) == id_hashes
            if hit.any():
                known = run["content_hash"].gather(place).zip_with(hit, known).alias("known")
        return known

    def remember(self, postings: pl.DataFrame) -> None:
        """Take over the events of these rows, once they are in the ledger.

        Args:
            postings: POSTINGS; rows without an event, and rows of other roles than revenue, say nothing new.
        """
        self._add(
            fingerprint_events(postings.filter((pl.col("role") == Role.REVENUE.value) & pl.col("event_id").is_not_null()))
        )

    def _add(self, fingerprints: pl.DataFrame) -> None:
        """Add a sorted run, merged with those that are not much longer. Runs stay ordered, longest first."""
        if fingerprints.is_empty():
            return
        added = fingerprints.select("id_hash", "content_hash").sort("id_hash")
        while self._runs and self._runs[-1].height < _GROWTH * added.height:
            added = pl.concat([self._runs.pop(), added]).sort("id_hash")
        self._runs.append(added)
