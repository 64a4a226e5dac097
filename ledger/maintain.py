"""Care of the ledger's files: what is in them, and making few files of many.

Every commit leaves a small file. `join_small` makes larger ones of them while a month is being filled; `compact` puts a month
in order once it is closed. Both change files and nothing else.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ledger.delta import DataFile, one_line, write_files
from ledger.history import Finding, History
from ledger.proof import RowProof, RowSum, read_groups
from ledger.store import asks_the_store
from ledger.table import LedgerTable, source_id
from ledger.verify import check_bytes, pinned_history
from schemas.errors import BrokenPromise, Fenced, LedgerBusy, LedgerUnwritable

SLICE_ROWS = 1_000_000
"""Rows in a file that a compaction writes. A slice is a range of accounts."""

SPILL_ROWS = 250_000
"""Rows in memory while they are put aside with their slices."""

SMALL_ROWS = SLICE_ROWS // 2
"""A file with fewer rows is worth joining with others."""

SMALL_FILES = 10
"""So many small files are worth the work."""

SLICE = "slice of the compaction"


def stats(table: LedgerTable) -> pl.DataFrame:
    """What a table holds: `month` (null if it has no months), `rows`, `files` and `bytes`, one row per month in order."""
    files = table.describe_files().group_by(month="folder")
    return files.agg(pl.col("rows").sum(), files=pl.len().cast(pl.Int64), bytes=pl.col("bytes").sum()).sort("month")


@asks_the_store
def compact(table: LedgerTable, month: str) -> int:
    """Rewrite a month's files in the table's order: the same rows in few files, each a range of accounts.

    Worth it once a month is closed: a bill run reads sorted files three times faster. Writers may append to the same month
    meanwhile; what they add stays as it is. The old files stay on disk for those who read an older version, and to prove the
    new ones. Every row is read once, put aside with its range, and written once: time grows with the rows, memory does not,
    unless one account has more than SLICE_ROWS.

    Returns:
        The number of files that were replaced; 0 when there was nothing to gain.

    Raises:
        LedgerBusy: Another compaction of the month was quicker. Nothing was changed.
        LedgerUnwritable: The folder cannot be written. Nothing was changed.
        BrokenPromise: An old file is not what was committed, or the new ones do not hold its rows. Nothing was changed.
    """
    guards = table.positions([_guard(month), _sorted_mark(month)])
    files = table.describe_files().filter(pl.col("folder") == month)
    if files.height < 2 or not table.sort_by:
        return 0
    return _rewrite(table, files, guards)


def is_sorted(table: LedgerTable, month: str) -> bool:
    """Whether the month has been compacted as a whole. Rows that came later lie beside it."""
    return table.position(_sorted_mark(month)) is not None


def join_small(table: LedgerTable, month: str | None) -> int:
    """Join the small files of a month (None: of a table without months), at most SLICE_ROWS rows at a time.

    Returns and raises as `compact`. A file that has been joined is small no more, or waits for SMALL_FILES others; so a row is
    rewritten a few times, however many commits there are.
    """
    replaced = 0
    while True:
        guards = table.positions([_guard(month)])
        files = table.describe_files().filter(pl.col("folder").eq_missing(pl.lit(month, pl.String)))
        small = files.filter(pl.col("rows") < SMALL_ROWS).sort("rows", "path")
        if small.height < SMALL_FILES or not table.sort_by:
            return replaced
        replaced += _rewrite(table, small.filter(pl.col("rows").cum_sum() <= SLICE_ROWS), guards)


def _guard(month: str | None) -> str:
    """Whoever rewrites files of the month moves this position."""
    return source_id(f"compact:{month or ''}", 0)


def _sorted_mark(month: str) -> str:
    """Whoever rewrites all of them moves this one too."""
    return source_id(f"sorted:{month}", 0)


def _rewrite(table: LedgerTable, files: pl.DataFrame, guards: dict[str, int | None]) -> int:
    """Let new files, sorted and sliced, stand for these, of one folder. Returns how many were replaced; raises as `compact`."""
    pinned = table.pin()
    assert pinned is not None, "it has files"
    names = files["path"].to_list()
    paths = [Path(path) for path in table.store.fetch(files["path", "bytes"].rows())]
    _check_files(table, pinned_history(table, pinned, names)[0], dict(zip(names, paths, strict=True)))
    proof = RowProof(table.schema.names())
    with _spill_folder(table.path) as spill:
        old = _spill_slices(paths, proof, _slices(paths, table.sort_by[0]), spill)
        new = [file for slice_folder in sorted(spill.iterdir()) for file in _write_slice(table, slice_folder)]
    written = sum((_read_back(table, file, proof) for file in new), RowSum())
    if written != old or written.rows != files["rows"].sum():
        raise BrokenPromise(f"{table.store}: the {len(new)} new files do not hold the rows of the {files.height} old ones")
    try:
        table.swap_files(names, new, expected=guards)
    except Fenced as error:
        raise LedgerBusy(table.store, "a compaction of the same month") from error
    return files.height


def _read_back(table: LedgerTable, file: DataFile, proof: RowProof) -> RowSum:
    with table.store.look_at(file.seal.path) as path:
        return proof.of_file(path)


def _check_files(table: LedgerTable, history: History, paths: Mapping[str, Path]) -> None:
    """A file that was changed must not find its way into a new one that looks right."""
    findings = [*history.findings]
    for name, path in paths.items():
        seal = history.seals.get(name)
        try:
            findings += check_bytes(path, seal) if seal else []
        except FileNotFoundError:
            findings.append(Finding(name, "the file is gone", None, None))
        if findings or seal is None:
            what = findings[0].what if findings else "no commit in the chain added it"
            raise BrokenPromise(f"{path}: {what}. Nothing was compacted. Run `boss ledger verify`.")


@contextmanager
def _spill_folder(folder: Path) -> Iterator[Path]:
    """A folder for rows on their way, on the table's disk and outside the table. Gone afterwards."""
    spill = folder / f"_spill-{uuid.uuid4().hex}"
    try:
        spill.mkdir(parents=True)
        yield spill
    except (OSError, pl.exceptions.ComputeError) as error:
        raise LedgerUnwritable(folder, one_line(error)) from error
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _slices(paths: list[Path], column: str) -> pl.DataFrame:
    """Every value of the column with the number of its slice. A slice is a range of values with about SLICE_ROWS rows."""
    rows = pl.scan_parquet(paths, hive_partitioning=False, glob=False).select(column)
    counts = rows.group_by(column).len().collect(engine="streaming").sort(column, nulls_last=False)
    number = (pl.col("len").cast(pl.Int64).cum_sum() - 1) // SLICE_ROWS
    return counts.select(column, number.alias(SLICE))


def _spill_slices(paths: list[Path], proof: RowProof, slices: pl.DataFrame, spill: Path) -> RowSum:
    """Put every row into its slice's folder below `spill`, in files of any order. Returns what the rows add up to."""
    total = RowSum()
    waiting: list[pl.DataFrame] = []
    for path in paths:
        for rows in read_groups(path):
            waiting.append(rows)
            if sum(part.height for part in waiting) >= SPILL_ROWS:
                total += _spill_rows(pl.concat(waiting), proof, slices, spill)
                waiting = []
    return total + _spill_rows(pl.concat(waiting), proof, slices, spill) if waiting else total


def _spill_rows(rows: pl.DataFrame, proof: RowProof, slices: pl.DataFrame, spill: Path) -> RowSum:
    placed = rows.join(slices, on=slices.columns[0], how="left", nulls_equal=True)
    for (number,), part in placed.partition_by(SLICE, as_dict=True, include_key=False).items():
        folder = spill / f"{number:09}"
        folder.mkdir(exist_ok=True)
        part.write_parquet(folder / f"{uuid.uuid4().hex}.parquet", compression="lz4", statistics=False)
    return proof.of_rows(rows)


def _write_slice(table: LedgerTable, folder: Path) -> list[DataFile]:
    rows = pl.read_parquet(sorted(folder.iterdir()), hive_partitioning=False, glob=False).select(table.schema.names())
    files = write_files(table.store, rows, table.partition_by, table.sort_by, data_change=False)
    shutil.rmtree(folder)
    return files
