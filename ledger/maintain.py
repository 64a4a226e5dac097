"""Care of the ledger's files: what is in them, and putting a month in order once it has been filled by many small commits."""

from __future__ import annotations

from itertools import pairwise

import polars as pl

from ledger.delta import DataFile, write_files
from ledger.table import LedgerTable, source_id
from schemas.errors import BrokenPromise, Fenced, LedgerBusy

SLICE_ROWS = 1_000_000
"""Rows sorted at a time. A slice is a range of accounts, so memory does not grow with the month."""


def stats(table: LedgerTable) -> pl.DataFrame:
    """What a table holds: `month` (null if it has no months), `rows`, `files` and `bytes`, one row per month in order."""
    files = table.describe_files().group_by(month="folder")
    return files.agg(pl.col("rows").sum(), files=pl.len().cast(pl.Int64), bytes=pl.col("bytes").sum()).sort("month")


def compact(table: LedgerTable, month: str) -> int:
    """Rewrite a month's files in the table's order: the same rows in few files, each a range of accounts.

    Worth it once a month is closed: a bill run reads sorted files three times faster. Writers may append to the same month
    meanwhile; what they add stays as it is. The old files stay on disk for those who read an older version.

    Returns:
        The number of files that were replaced; 0 when there was nothing to gain.

    Raises:
        LedgerBusy: Another compaction of the month was quicker. Nothing was changed.
        LedgerUnwritable: The folder cannot be written. Nothing was changed.
        BrokenPromise: The new files would not hold as many rows as the old ones. Nothing was changed.
    """
    guard = source_id(f"compact:{month}", 0)
    expected = {guard: table.position(guard)}
    files = table.describe_files().filter(pl.col("folder") == month)
    if files.height < 2 or not table.sort_by:
        return 0
    paths = [table.path / name for name in files["path"]]
    rows = pl.scan_parquet(paths, hive_partitioning=False, glob=False).select(table.schema.names())
    new = [file for bounds in _slices(rows, table.sort_by[0]) for file in _write_slice(table, rows, bounds)]
    written = sum(file.seal.rows for file in new)
    if written != files["rows"].sum():
        raise BrokenPromise(f"{table.path}: {month} has {files['rows'].sum()} rows, its compaction {written}")
    try:
        table.swap_files(files["path"].to_list(), new, expected=expected)
    except Fenced as error:
        raise LedgerBusy(table.path, "a compaction of the same month") from error
    return files.height


def _slices(rows: pl.LazyFrame, column: str) -> list[tuple[str | None, str | None]]:
    """Ranges [from, to) of the column's values with about SLICE_ROWS rows each; None is open."""
    counts = rows.group_by(column).len().sort(column, nulls_last=False).collect()
    number = (pl.col("len").cast(pl.Int64).cum_sum() - 1) // SLICE_ROWS
    firsts = counts.filter(number != number.shift(1)).get_column(column).to_list()
    return list(pairwise([None, *firsts, None]))


def _write_slice(table: LedgerTable, rows: pl.LazyFrame, bounds: tuple[str | None, str | None]) -> list[DataFile]:
    low, high = bounds
    key = pl.col(table.sort_by[0])
    if low is not None:
        rows = rows.filter(key >= low)
    if high is not None:
        rows = rows.filter((key < high) | key.is_null()) if low is None else rows.filter(key < high)
    part = rows.collect()
    return write_files(table.path, part, table.partition_by, table.sort_by, data_change=False)
