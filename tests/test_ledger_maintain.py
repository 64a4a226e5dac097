"""Putting a month in order changes its files and nothing else, also while others append."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ledger.maintain
from ledger.book import open_ledger
from ledger.delta import DataFile, write_files
from ledger.maintain import compact, is_sorted, join_small, stats
from ledger.store import Store
from ledger.table import LedgerTable
from ledger.verify import verify
from schemas.errors import BrokenPromise, LedgerBusy, LedgerUnwritable
from schemas.ledger import POSITION_KEY
from tests.ledger_world import KAFKA, fill, postings


def rows_of(table: LedgerTable) -> pl.DataFrame:
    return table.scan().collect().sort(POSITION_KEY)


@pytest.fixture
def table(tmp_path: Path) -> LedgerTable:
    table = open_ledger(tmp_path).postings
    for first in range(0, 100, 20):
        fill(table, first, 20)
    fill(table, 100, 5, month="2026-11")
    return table


def test_stats_count_rows_files_and_bytes_by_month(table: LedgerTable) -> None:
    found = stats(table)
    assert found.select("month", "rows", "files").rows() == [("2026-10", 100, 5), ("2026-11", 5, 1)]
    assert found["bytes"].sum() == sum(Path(file).stat().st_size for file in table.files())


def test_stats_of_a_table_without_months_are_one_row(tmp_path: Path) -> None:
    rejects = open_ledger(tmp_path).rejects
    assert stats(rejects).is_empty()
    rejects.append(rejects.schema.build([{"reason": "unreadable"}]), expected={}, reached={KAFKA: 0})
    assert stats(rejects).select("month", "rows", "files").rows() == [(None, 1, 1)]


def test_compaction_keeps_every_row_and_sorts_them_by_account(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.maintain, "SLICE_ROWS", 30)
    before, version = rows_of(table), table.version()
    assert compact(table, "2026-10") == 5
    assert rows_of(table).equals(before)
    assert table.position(KAFKA) == 104
    october = [pl.read_parquet(file)["account_id"] for file in table.files() if "2026-10" in file]
    accounts = sorted(set(before["account_id"]))
    assert 1 < len(october) <= 5
    assert all(file.is_sorted() for file in october)
    assert sorted(account for file in october for account in file.unique()) == accounts, "each account is in one file"
    assert table.scan(version).collect().height == 105, "readers of the old version still find their files"


def test_a_month_in_one_file_or_without_any_is_left_alone(table: LedgerTable) -> None:
    before = table.version()
    assert compact(table, "2026-11") == compact(table, "2030-01") == 0
    assert table.version() == before


def test_rows_without_an_account_and_of_one_account_are_compacted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.maintain, "SLICE_ROWS", 5)
    monkeypatch.setattr(ledger.maintain, "SPILL_ROWS", 7)
    table = open_ledger(tmp_path).postings
    nobody = postings(0, 20).with_columns(account_id=pl.lit(None, pl.String))
    table.append(nobody, expected={}, reached={KAFKA: 19})
    alone = postings(20, 20).with_columns(account_id=pl.lit("acme"))
    table.append(alone, expected={KAFKA: 19}, reached={KAFKA: 39})
    before = rows_of(table)
    assert compact(table, "2026-10") == 2
    assert rows_of(table).equals(before)
    assert verify(table).is_empty()


def test_a_month_may_be_compacted_again_and_again(table: LedgerTable) -> None:
    for first in (200, 220):
        compact(table, "2026-10")
        table.append(postings(first, 20), expected={KAFKA: first - 1 if first > 200 else 104}, reached={KAFKA: first + 19})
    before = rows_of(table)
    assert compact(table, "2026-10") == 2
    assert rows_of(table).equals(before)
    assert verify(table).is_empty()


def test_small_files_are_joined_as_soon_as_there_are_many(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.maintain, "SMALL_FILES", 5)
    before, version = rows_of(table), table.version()
    assert join_small(table, "2026-10") == 5
    assert join_small(table, "2026-11") == 0, "one file is not many"
    assert rows_of(table).equals(before)
    assert table.position(KAFKA) == 104
    assert stats(table).select("month", "files").rows() == [("2026-10", 1), ("2026-11", 1)]
    assert table.scan(version).collect().height == 105, "readers of the old version still find their files"
    assert verify(table).is_empty()


def test_files_are_joined_a_slice_at_a_time_and_large_ones_are_left_alone(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLICE_ROWS": 45, "SMALL_ROWS": 30, "SMALL_FILES": 2}.items():
        monkeypatch.setattr(ledger.maintain, name, value)
    before = rows_of(table)
    assert join_small(table, "2026-10") == 4, "twice two files of 20 rows; the fifth has nobody to be joined with"
    assert sorted(pl.read_parquet(file).height for file in table.files() if "2026-10" in file) == [20, 40, 40]
    assert join_small(table, "2026-10") == 0
    assert rows_of(table).equals(before)


def test_joining_reads_the_chain_no_further_back_than_to_the_files(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.maintain, "SMALL_FILES", 3)
    for first in range(105, 135, 10):
        fill(table, first, 10, month="2026-12")
    chain = next((table.path / "_chain").glob("*.txt"))
    lines = chain.read_text().splitlines(keepends=True)
    chain.write_text("damaged\n" + "".join(lines[1:]))
    assert join_small(table, "2026-12") == 3
    with pytest.raises(BrokenPromise, match="entry 1 of the chain is missing"):
        join_small(table, "2026-10")


def test_a_table_without_months_is_joined_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.maintain, "SMALL_FILES", 3)
    rejects = open_ledger(tmp_path).rejects
    for offset in range(3):
        row = rejects.schema.build([{"reason": "unreadable", "stream_offset": offset}])
        rejects.append(row, expected={KAFKA: offset - 1 if offset else None}, reached={KAFKA: offset})
    assert join_small(rejects, None) == 3
    assert rejects.scan().collect()["stream_offset"].to_list() == [0, 1, 2]
    assert stats(rejects).row(0)[1:3] == (3, 1)


def test_a_month_is_sorted_when_it_was_compacted_as_a_whole(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.maintain, "SMALL_FILES", 2)
    join_small(table, "2026-10")
    assert not is_sorted(table, "2026-10")
    fill(table, 105, 5)
    assert compact(table, "2026-10") == 2
    assert is_sorted(table, "2026-10")
    assert not is_sorted(table, "2026-11")


def test_a_compaction_that_would_lose_a_row_changes_nothing(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_one_row_twice(store: Store, rows: pl.DataFrame, *args: Any, **named: Any) -> list[DataFile]:
        return write_files(store, pl.concat([rows[:-1], rows[:1]]), *args, **named)

    monkeypatch.setattr(ledger.maintain, "write_files", write_one_row_twice)
    before, version = rows_of(table), table.version()
    with pytest.raises(BrokenPromise, match="do not hold the rows of the 5 old ones"):
        compact(table, "2026-10")
    assert (table.version(), rows_of(table).equals(before)) == (version, True)


def test_a_compaction_without_space_says_so_and_cleans_up(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **named: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", refuse)
    with pytest.raises(LedgerUnwritable, match="No space left on device"):
        compact(table, "2026-10")
    assert not list(table.path.glob("_spill-*"))


def test_appends_during_a_compaction_survive_it(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_ledger(table.path.parent).postings

    def write_while_others_append(*args: object, **named: object) -> object:
        for first in range(105, 135, 10):
            fill(writer, first, 10)
        monkeypatch.setattr(ledger.maintain, "write_files", write_files)
        return write_files(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger.maintain, "write_files", write_while_others_append)
    assert compact(table, "2026-10") == 5
    for reader in (table, writer):
        assert rows_of(reader)["stream_offset"].to_list() == list(range(135))
        assert reader.position(KAFKA) == 134
    fill(writer, 135, 1)
    assert stats(table).row(0)[1:3] == (131, 5), "one compacted file and four appended ones"


def test_of_two_compactions_of_a_month_one_gives_way(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows_of(table)

    def write_while_another_compacts(*args: object, **named: object) -> object:
        monkeypatch.setattr(ledger.maintain, "write_files", write_files)
        compact(open_ledger(table.path.parent).postings, "2026-10")
        return write_files(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger.maintain, "write_files", write_while_another_compacts)
    with pytest.raises(LedgerBusy, match="a compaction of the same month"):
        compact(table, "2026-10")
    assert rows_of(table).equals(before)
