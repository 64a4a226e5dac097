"""Which events were charged before, and with which content: two numbers an event, whatever its id looks like.

Of an event two 64-bit hashes are kept: of (source, id), and of what was charged (subscription, time, meter, quantity, and the
value that some meters keep). Two different ids share a hash once in 2^64; such an event is not lost: its content differs too,
so it becomes a reject with a reason. Hashes are of this process and version; they are never stored.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from rating.numbers import Keys, NumberedKeys, Numbers
from schemas.balance import Move
from schemas.frames import INSTANT
from schemas.ledger import BALANCE_ROLES, Role, reported_quanta

CONTENT = ["subscription_id", "occurred_at", "meter_id", "quantity_quanta", "value"]
"""What two deliveries of one event must agree on, besides source and id."""

_GROWTH = 1.5


def fingerprint_events(rows: pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """One row per event: `id_hash` and `content_hash` (UInt64).

    Args:
        rows: `event_source`, `event_id` and CONTENT, one row or more per event and meter.
        by: Column that tells events apart, returned too; None is their id, as in the ledger.
    """
    return _unite(_hash_rows(rows, by), by)


def _hash_rows(rows: pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """`by`, `id_hash` and `content_hash` of each row."""
    always = zip(CONTENT[:-1], (3, 4, 5, 6), (1, 3, 5, 7), strict=True)
    sums = [pl.col(name).hash(seed) * factor for name, seed, factor in always]
    if rows["value"].null_count() < rows.height:
        sums.append(pl.when(pl.col("value").is_not_null()).then(pl.col("value").hash(9) * 9).otherwise(0))
    return rows.select(
        *([by] if by else []),
        id_hash=hash_ids(),
        content_hash=pl.sum_horizontal(sums).hash(8),
    )


def _unite(hashed: pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """One row per event: rows that say the same count once, what different ones say is added."""
    once = hashed.filter(pl.any_horizontal(pl.all().ne_missing(pl.all().shift(1))))  # rows of one event stand together
    if not once[by or "id_hash"].is_duplicated().any():
        return once
    hashed = hashed.unique()
    if not hashed[by or "id_hash"].is_duplicated().any():
        return hashed
    return hashed.group_by(list(dict.fromkeys([by or "id_hash", "id_hash"]))).agg(pl.col("content_hash").sum())


def hash_ids(event_id: str = "event_id") -> pl.Expr:
    """`id_hash` of `event_source` and the column that holds an id."""
    return (pl.col("event_source").hash(1) + pl.col(event_id).hash(2) * 3).hash(7).alias("id_hash")


def order_content() -> list[pl.Expr]:
    """CONTENT of the row of an order about a balance. Whoever sends one again may say another time."""
    return [
        pl.col("account_id").alias("subscription_id"),
        pl.lit(None, INSTANT).alias("occurred_at"),
        pl.lit(None, pl.String).alias("meter_id"),
        pl.lit(0, pl.Int64).alias("quantity_quanta"),
        pl.col("value"),
    ]


class SeenEvents:
    """The hashes of all charged events."""

    def __init__(self) -> None:
        self._ids = NumberedKeys()
        self._contents: Keys = np.empty(0, np.uint64)  # by number of the id

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """Memory that the hashes take."""
        return self._ids.nbytes + self._contents.nbytes

    def reserve(self, count: int) -> None:
        """Make room for so many events at once, to load them faster."""
        self._ids.reserve(count)
        self._make_room(count)

    def add(self, ids: pl.DataFrame) -> None:
        """Take over events of the ledger.

        Args:
            ids: `event_source`, `event_id` and CONTENT, one row or more per charged event and meter; all rows of an event.
        """
        hashed = _hash_rows(ids)
        before = len(self)
        self._ids.add(hashed["id_hash"].to_numpy())
        if len(self) - before == hashed.height:  # every row is an event of its own, and new, so they are numbered in a row
            self._keep(slice(before, len(self)), hashed["content_hash"])
        else:
            self._add(_unite(hashed))

    def check(self, id_hashes: pl.Series) -> pl.Series:
        """The content hash an event of this id was charged with, in the order of `id_hashes`; null for new ones."""
        number = pl.Series(self._ids.find(id_hashes.to_numpy()))
        if not (number >= 0).any():
            return pl.Series("known", [None], pl.UInt64).new_from_index(0, len(number))
        content = pl.Series("known", self._contents[number.clip(lower_bound=0).to_numpy()])
        return content.zip_with(number >= 0, pl.Series([None], dtype=pl.UInt64))

    def remember(self, postings: pl.DataFrame) -> None:
        """Take over the events of these rows, once they are in the ledger.

        Args:
            postings: POSTINGS; rows without an event, rows of other roles than revenue and rows by which re-rating takes others
                back say nothing new. A retraction is an event of its own.
        """
        own = pl.col("corrects").is_null() | ~pl.col("stream").str.starts_with("rerate:")
        is_usage = (pl.col("role") == Role.REVENUE.value) & pl.col("event_id").is_not_null() & own
        columns = ["event_source", "event_id", *CONTENT, "corrects", "stream", "role"]
        told = postings.with_columns(reported_quanta()).select(columns)
        self._add(fingerprint_events(told.filter(is_usage)))

    def remember_orders(self, postings: pl.DataFrame) -> None:
        """Take over the orders about balances of these rows, once they are in the ledger.

        Args:
            postings: POSTINGS; the row of an order has the digest of its content as `value`.
        """
        is_order = pl.col("role").is_in(BALANCE_ROLES) & (pl.col("charge") != Move.DEDUCT) & pl.col("value").is_not_null()
        orders = postings.filter(is_order)
        if orders.height:
            self._add(fingerprint_events(orders.select("event_source", "event_id", *order_content())))

    def _add(self, fingerprints: pl.DataFrame) -> None:
        """Add one row per id."""
        if fingerprints.is_empty():
            return
        self._keep(self._ids.add(fingerprints["id_hash"].to_numpy()), fingerprints["content_hash"])

    def _keep(self, number: Numbers | slice, content: pl.Series) -> None:
        """Note the contents of the ids with these numbers."""
        if len(self) > len(self._contents):
            self._make_room(max(len(self), int(len(self._contents) * _GROWTH)))
        self._contents[number] = content.to_numpy()

    def _make_room(self, count: int) -> None:
        if count > len(self._contents):
            longer = np.empty(count, np.uint64)
            longer[: len(self._contents)] = self._contents
            self._contents = longer
