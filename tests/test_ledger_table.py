"""A ledger table adds a batch once or not at all, and says how far each source has been read."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

import ledger.handles
import ledger.table
from ledger.book import open_ledger
from ledger.delta import write_files
from ledger.table import LedgerTable, parse_source, source_id
from ledger.verify import verify, verify_ledger
from schemas.errors import BrokenPromise, Fenced, LedgerUnwritable, Refused
from schemas.frames import AMOUNT, INSTANT, FrameSchema
from schemas.ledger import POSTINGS

EVERY_TYPE = FrameSchema(
    "EVERY_TYPE",
    {
        "month": pl.String,
        "name": pl.String,
        "tiny": pl.Int8,
        "small": pl.Int16,
        "medium": pl.Int32,
        "large": pl.Int64,
        "amount": AMOUNT,
        "moment": INSTANT,
        "day": pl.Date,
        "flag": pl.Boolean,
        "raw": pl.Binary,
    },
)

FULL_ROW: dict[str, object] = {
    "month": "2026-10",
    "name": "会议",
    "tiny": -128,
    "small": 32_767,
    "medium": -(2**31),
    "large": 2**63 - 1,
    "amount": Decimal("99999999999999999999.999999999999999999"),
    "moment": datetime(2026, 10, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "day": date(2026, 10, 1),
    "flag": True,
    "raw": b"\x00\xff",
}

SOURCE = source_id("kafka:usage@1", 0)
OTHER = source_id("kafka:usage@1", 1)


def postings(*offsets: int, month: str = "2026-10", partition: int = 0) -> pl.DataFrame:
    return POSTINGS.build(
        [
            {
                "stream": "kafka:usage@1",
                "stream_partition": partition,
                "stream_offset": offset,
                "usage_month": month,
                "account_id": f"account-{9 - offset % 10}",
            }
            for offset in offsets
        ]
    )


def offsets_in(table: LedgerTable) -> list[int]:
    return sorted(table.scan().collect()["stream_offset"].to_list())


@pytest.fixture
def table(tmp_path: Path) -> LedgerTable:
    return open_ledger(tmp_path / "my ledger 账").postings


def another(table: LedgerTable) -> LedgerTable:
    """What a second process would hold."""
    return LedgerTable(table.path, table.schema, table.partition_by, table.sort_by)


def test_a_table_that_was_never_written_is_empty_and_leaves_no_trace(table: LedgerTable) -> None:
    assert table.version() == -1
    assert table.position(SOURCE) is None
    assert table.files() == table.files(-1) == []
    assert table.scan().collect().equals(POSTINGS.empty())
    assert table.describe_files().is_empty()
    assert not table.path.exists()


def test_rows_and_positions_arrive_together(table: LedgerTable) -> None:
    table.append(postings(0, 1, 2), expected={SOURCE: None, OTHER: None}, reached={SOURCE: 2, OTHER: 7})
    table.append(postings(3), expected={SOURCE: 2}, reached={SOURCE: 9})
    for reader in (table, another(table)):
        assert offsets_in(reader) == [0, 1, 2, 3]
        assert reader.positions([SOURCE, OTHER, "nobody/0"]) == {SOURCE: 9, OTHER: 7, "nobody/0": None}


def test_an_append_without_rows_only_moves_the_position(table: LedgerTable) -> None:
    table.append(POSTINGS.empty(), expected={}, reached={SOURCE: 41})
    assert (table.position(SOURCE), table.files()) == (41, [])
    before = table.version()
    table.append(POSTINGS.empty(), expected={SOURCE: 41}, reached={SOURCE: 41})
    assert table.version() == before


def test_a_writer_whose_source_was_advanced_by_another_is_fenced(table: LedgerTable) -> None:
    zombie = another(table)
    table.append(postings(0), expected={SOURCE: None}, reached={SOURCE: 0})
    zombie.append(postings(1), expected={SOURCE: 0}, reached={SOURCE: 1})
    with pytest.raises(Fenced, match=r"kafka:usage@1/0"):
        table.append(postings(1, 2), expected={SOURCE: 0}, reached={SOURCE: 2})
    with pytest.raises(Fenced):
        another(table).append(postings(0), expected={}, reached={SOURCE: 5})
    assert offsets_in(table) == [0, 1]
    assert table.position(SOURCE) == 1


@pytest.mark.parametrize("fenced", [True, False])
def test_a_commit_that_slips_in_between_fences_only_writers_of_the_same_source(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch, fenced: bool
) -> None:
    table.append(postings(0), expected={}, reached={SOURCE: 0})
    rival = another(table)

    def write_while_the_rival_commits(*args: object, **named: object) -> object:
        monkeypatch.setattr(ledger.table, "write_files", write_files)
        moves: dict[str, int] = {SOURCE: 1} if fenced else {OTHER: 5}  # as far as we want to go ourselves
        rival.append(postings(5), expected={SOURCE: 0} if fenced else {}, reached=moves)
        return write_files(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger.table, "write_files", write_while_the_rival_commits)
    if fenced:
        with pytest.raises(Fenced):
            table.append(postings(1), expected={SOURCE: 0}, reached={SOURCE: 1})
        assert (offsets_in(table), table.position(SOURCE)) == ([0, 5], 1)
    else:
        table.append(postings(1), expected={SOURCE: 0}, reached={SOURCE: 1})
        assert (offsets_in(table), table.position(SOURCE)) == ([0, 1, 5], 1)


class Unreliable:
    """A handle whose commits report errors: before they happen, or after."""

    def __init__(self, handle: DeltaTable, errors: list[BaseException], *, lands: bool) -> None:
        self.handle, self.errors, self.lands = handle, errors, lands

    def __getattr__(self, name: str) -> object:
        return getattr(self.handle, name)

    def create_write_transaction(self, *args: object, **named: object) -> None:
        if self.lands or not self.errors:
            self.handle.create_write_transaction(*args, **named)  # type: ignore[arg-type]
        if self.errors:
            raise self.errors.pop()


def make_unreliable(table: LedgerTable, monkeypatch: pytest.MonkeyPatch, errors: list[BaseException], *, lands: bool) -> None:
    def opened(path: str, storage_options: None) -> Unreliable:
        return Unreliable(DeltaTable(path), errors, lands=lands)

    opened.is_deltatable = DeltaTable.is_deltatable  # type: ignore[attr-defined]
    opened.create = DeltaTable.create  # type: ignore[attr-defined]
    monkeypatch.setattr(ledger.handles, "DeltaTable", opened)


@pytest.mark.parametrize("rows", [postings(0, 1), POSTINGS.empty()], ids=["rows", "no rows"])
@pytest.mark.parametrize("error", [OSError("connection lost"), CommitFailedError("unclear")], ids=["folder", "delta"])
def test_a_commit_that_landed_in_spite_of_an_error_is_not_repeated(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch, error: Exception, rows: pl.DataFrame
) -> None:
    make_unreliable(table, monkeypatch, [error], lands=True)
    table.append(rows, expected={}, reached={SOURCE: 1})
    assert table.version() == 1
    assert offsets_in(table) == rows["stream_offset"].to_list()


def test_a_writer_that_dies_before_its_commit_leaves_a_file_that_nobody_reads(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        make_unreliable(table, dying, [SystemExit()], lands=False)
        with pytest.raises(SystemExit):
            table.append(postings(0, 1), expected={}, reached={SOURCE: 1})
    successor = another(table)
    assert (successor.position(SOURCE), offsets_in(successor)) == (None, [])
    successor.append(postings(0, 1), expected={}, reached={SOURCE: 1})
    assert offsets_in(successor) == [0, 1]
    assert len(list(table.path.rglob("*.parquet"))) == 2


def test_a_commit_that_failed_is_tried_again_with_the_same_file(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    make_unreliable(table, monkeypatch, [CommitFailedError("a concurrent commit") for _ in range(4)], lands=False)
    table.append(postings(0, 1), expected={}, reached={SOURCE: 1})
    assert offsets_in(table) == [0, 1]
    assert len(list(table.path.rglob("*.parquet"))) == 1


def test_a_file_system_that_refuses_the_commit_leaves_the_table_as_it_was(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.append(postings(0), expected={}, reached={SOURCE: 0})
    refusing = another(table)
    make_unreliable(refusing, monkeypatch, [OSError("\x1b[31mNo space left\x1b[0m\n on device")] * 9, lands=False)
    with pytest.raises(LedgerUnwritable, match=r"postings cannot be written \(No space left on device\)"):
        refusing.append(postings(1), expected={SOURCE: 0}, reached={SOURCE: 1})
    assert (offsets_in(table), table.position(SOURCE), table.version()) == ([0], 0, 1)


def test_a_writer_that_slept_through_its_commit_looks_whether_it_counts(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.table, "STALE_SECONDS", -1)
    table.append(postings(0), expected={}, reached={SOURCE: 0})
    table.append(postings(1), expected={SOURCE: 0}, reached={SOURCE: 1})
    assert (offsets_in(table), table.version()) == ([0, 1], 2)


def test_a_ledger_that_cannot_be_created_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file where the folder should be")
    with pytest.raises(LedgerUnwritable, match=r"ledger/postings cannot be written \(.*Not a directory"):
        open_ledger(tmp_path / "ledger").postings.append(postings(0), expected={}, reached={SOURCE: 0})


@pytest.mark.parametrize("name", ["c#d", "e?f", "i[j]k*", "n=o", "it's", "l{m} p:q"])
def test_a_ledger_may_live_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    table = open_ledger(tmp_path / name).postings
    table.append(postings(0), expected={}, reached={SOURCE: 0})
    table.append(postings(1), expected={SOURCE: 0}, reached={SOURCE: 1})
    assert offsets_in(table) == [0, 1]


@pytest.mark.parametrize("name", ["a%20b", "r\\s"])
def test_but_for_two_characters_which_are_refused(tmp_path: Path, name: str) -> None:
    table = open_ledger(tmp_path / name).postings
    with pytest.raises(LedgerUnwritable, match="loses its way"):
        table.append(postings(0), expected={}, reached={SOURCE: 0})
    assert not (tmp_path / name).exists()


def test_rows_that_cannot_be_written_leave_no_file_behind(table: LedgerTable) -> None:
    table.append(postings(0), expected={}, reached={SOURCE: 0})
    (table.path / "usage_month=2026-12").write_text("a file where the month's folder should be")
    both = pl.concat([postings(2, month="2026-11"), postings(1, month="2026-12")])  # sorted by account, November is first
    with pytest.raises(LedgerUnwritable, match="postings cannot be written"):
        table.append(both, expected={SOURCE: 0}, reached={SOURCE: 2})
    assert (table.path / "usage_month=2026-11").is_dir()
    assert len(list(table.path.rglob("*.parquet"))) == 1
    assert (offsets_in(table), table.position(SOURCE)) == ([0], 0)


def test_a_table_whose_creation_was_cut_short_is_created_again(table: LedgerTable) -> None:
    (table.path / "_delta_log").mkdir(parents=True)
    assert table.version() == -1
    table.append(postings(0), expected={}, reached={SOURCE: 0})
    assert offsets_in(table) == [0]


@pytest.mark.parametrize(
    ("frame", "expected", "reached", "complaint"),
    [
        (postings(0).drop("amount"), {}, {SOURCE: 0}, "lacks the columns amount"),
        (postings(0).with_columns(pl.col("tier").cast(pl.Int64)), {}, {SOURCE: 0}, "tier is Int64"),
        (postings(0), {SOURCE: 7}, {SOURCE: 6}, "move back from 7 to 6"),
        (postings(0), {}, {}, "names no source"),
        (postings(0).with_columns(usage_month=pl.lit(None, pl.String)), {}, {SOURCE: 0}, "no usage_month"),
    ],
)
def test_a_batch_that_breaks_the_rules_is_refused_whole(
    table: LedgerTable, frame: pl.DataFrame, expected: dict[str, int | None], reached: dict[str, int], complaint: str
) -> None:
    with pytest.raises(BrokenPromise, match=complaint):
        table.append(frame, expected=expected, reached=reached)
    assert offsets_in(table) == []


def test_a_table_of_other_columns_is_not_touched(table: LedgerTable) -> None:
    table.append(postings(0), expected={}, reached={SOURCE: 0})
    with pytest.raises(BrokenPromise, match="other columns than EVERY_TYPE"):
        LedgerTable(table.path, EVERY_TYPE, None, []).version()


def test_a_damaged_log_is_named_and_nothing_is_added_to_it(table: LedgerTable) -> None:
    table.append(postings(0), expected={}, reached={SOURCE: 0})
    (table.path / "_delta_log" / "00000000000000000000.json").write_text("{")
    with pytest.raises(BrokenPromise, match=r"log of .*postings cannot be read"):
        another(table).append(postings(1), expected={SOURCE: 0}, reached={SOURCE: 1})
    assert len(list(table.path.rglob("*.parquet"))) == 1


def test_an_older_version_stays_as_it_was(table: LedgerTable) -> None:
    table.append(postings(0), expected={}, reached={SOURCE: 0})
    version = table.version()
    table.append(postings(1), expected={SOURCE: 0}, reached={SOURCE: 1})
    assert table.scan(version).collect()["stream_offset"].to_list() == [0]
    assert len(table.files(version)) == 1
    with pytest.raises(Refused, match="Version 99"):
        table.files(99)


def test_rows_are_sorted_inside_a_file_and_months_have_folders(table: LedgerTable) -> None:
    table.append(pl.concat([postings(3, 1, 2), postings(4, month="2026-11")]), expected={}, reached={SOURCE: 4})
    october, november = table.files()
    assert pl.read_parquet(october)["account_id"].to_list() == ["account-6", "account-7", "account-8"]
    assert Path(november).parent.name == "usage_month=2026-11"
    assert table.scan().filter(pl.col("usage_month") == "2026-11").collect().height == 1


@pytest.mark.parametrize("partition_by", ["month", None])
def test_every_type_comes_back_as_declared_through_polars_and_duckdb(tmp_path: Path, partition_by: str | None) -> None:
    table = LedgerTable(tmp_path / "t", EVERY_TYPE, partition_by, ["name"])
    nulls: dict[str, object] = {"month": "2026-11"}
    rows = EVERY_TYPE.build([FULL_ROW, nulls])
    table.append(rows, expected={}, reached={SOURCE: 0})
    assert table.scan().collect().sort("month").equals(rows)
    relation = duckdb.connect().sql(
        "select * from read_parquet($files, hive_partitioning = true)", params={"files": table.files()}
    )
    read = relation.pl().sort("month")
    assert read.columns == rows.columns
    assert read.with_columns(pl.col("moment").dt.convert_time_zone("UTC")).cast(dict(EVERY_TYPE.columns)).equals(rows)
    assert read.schema["month"] == pl.String
    assert read.schema["amount"] == AMOUNT
    assert read.schema["tiny"] == pl.Int8


def test_a_source_name_can_be_taken_apart_again() -> None:
    assert source_id("kafka:usage@1", 3) == "kafka:usage@1/3"
    assert parse_source(source_id("kafka:a/b@1", 12)) == ("kafka:a/b@1", 12)


def append_many(path: Path, partition: int, count: int) -> None:
    table = open_ledger(path).postings
    source = source_id("kafka:usage@1", partition)
    for offset in range(count):
        rows = postings(offset, partition=partition)
        table.append(rows, expected={source: offset - 1 if offset else None}, reached={source: offset})


def run_both(work: Callable[..., None], first: tuple[object, ...], second: tuple[object, ...]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=args) for args in (first, second)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]


def create_and_append(path: Path, partition: int, ready: Barrier) -> None:
    create_table = ledger.handles.create_table

    def create_together(*args: Any) -> None:
        ready.wait(30)
        create_table(*args)

    pytest.MonkeyPatch().setattr(ledger.table, "create_table", create_together)
    append_many(path, partition, 1)


@pytest.mark.parametrize("attempt", range(3))
def test_writers_that_create_a_table_at_the_same_moment_make_one(attempt: int, tmp_path: Path) -> None:
    ready = multiprocessing.get_context("spawn").Barrier(2)
    run_both(create_and_append, (tmp_path, 0, ready), (tmp_path, 1, ready))
    table = open_ledger(tmp_path).postings
    assert table.version() == 2, "created once, appended to twice"
    assert verify(table).is_empty()


def test_two_processes_append_their_own_sources_to_one_table(tmp_path: Path) -> None:
    run_both(append_many, (tmp_path, 0, 25), (tmp_path, 1, 25))
    table = open_ledger(tmp_path).postings
    assert table.positions([SOURCE, OTHER]) == {SOURCE: 24, OTHER: 24}
    assert (
        table.scan().collect().select("stream_partition", "stream_offset").n_unique()
        == table.describe_files()["rows"].sum()
        == 50
    )
    assert verify(table).is_empty(), "their commits stand in one chain"
    assert verify_ledger(open_ledger(tmp_path)).heads["commits"].to_list() == [50]


def test_positions_outlive_checkpoints_and_the_cleaning_of_the_log(tmp_path: Path) -> None:
    table = LedgerTable(tmp_path / "t", EVERY_TYPE, "month", [])
    table.append(EVERY_TYPE.build([FULL_ROW]), expected={}, reached={OTHER: 3})
    for offset in range(60):
        table.append(EVERY_TYPE.empty(), expected={SOURCE: offset - 1 if offset else None}, reached={SOURCE: offset})
    handle = DeltaTable(table.path)
    handle.create_checkpoint()
    assert list((table.path / "_delta_log").glob("*.checkpoint.parquet"))
    assert another(table).positions([SOURCE, OTHER]) == {SOURCE: 59, OTHER: 3}
    assert "delta.setTransactionRetentionDuration" not in handle.metadata().configuration
