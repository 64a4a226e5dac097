"""Whether two sets of files hold the same rows, whatever their order: compared by sums of row hashes under a secret key.

The key is drawn afresh for every comparison. So nobody can have prepared rows whose sums agree by design, and rows that differ
agree by chance once in 2^128 times. Nothing has to be kept beside the rows, and the sums mean nothing afterwards.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ledger.delta import ROW_GROUP_ROWS


@dataclass(frozen=True)
class RowSum:
    """Rows counted, and their hashes added up."""

    rows: int = 0
    hashes: tuple[int, int] = (0, 0)

    def __add__(self, other: RowSum) -> RowSum:
        first, second = (left + right for left, right in zip(self.hashes, other.hashes, strict=True))
        return RowSum(self.rows + other.rows, (first % 2**64, second % 2**64))


class RowProof:
    """Adds up rows of one table under one key.

    Args:
        columns: The table's columns, in order.
    """

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self._keys = (secrets.randbits(63), secrets.randbits(63))

    def of_rows(self, rows: pl.DataFrame) -> RowSum:
        chosen = rows.select(self.columns)
        first, second = (int(chosen.hash_rows(key).sum()) for key in self._keys)
        return RowSum(rows.height, (first, second))

    def of_file(self, file: Path) -> RowSum:
        """Rows of a Parquet file, one row group in memory at a time. Raises what Polars raises when it cannot be read."""
        total = RowSum()
        for part in read_groups(file):
            total += self.of_rows(part)
        return total


def read_groups(file: Path) -> Iterator[pl.DataFrame]:
    """The row groups of a ledger file, in order."""
    scan = pl.scan_parquet(file, hive_partitioning=False, glob=False)
    rows = int(scan.select(pl.len()).collect().item())
    for start in range(0, rows, ROW_GROUP_ROWS):
        yield scan.slice(start, ROW_GROUP_ROWS).collect()
