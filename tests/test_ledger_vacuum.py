"""Only what nobody can ask for any more is deleted, and only when told to."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import ledger.vacuum
from ledger.book import open_ledger
from ledger.delta import write_files
from ledger.maintain import compact
from ledger.store import Store
from ledger.table import LedgerTable
from ledger.vacuum import AUDIT_DAYS, vacuum
from ledger.verify import verify, verify_ledger
from schemas.errors import BrokenPromise, LedgerUnwritable, Refused
from tests.ledger_world import change_byte, fill, filled, postings


@pytest.fixture
def table(tmp_path: Path) -> LedgerTable:
    table = filled(tmp_path)
    compact(table, "2026-10")
    return table


def files_on_disk(table: LedgerTable) -> set[str]:
    return {file.relative_to(table.path).as_posix() for file in table.path.rglob("part-*.parquet")}


def let_days_pass(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """The vacuum believes that it is so much later."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=days)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger.vacuum, "datetime", Later)


def leave_orphan(table: LedgerTable, days: float) -> str:
    """What a writer leaves that died before its commit, so many days ago."""
    (orphan,) = write_files(table.store, postings(900, 3), "usage_month", [])
    then = time.time() - days * 86_400
    os.utime(table.path / orphan.seal.path, (then, then))
    return orphan.seal.path


def test_replaced_files_stay_for_the_audit_window(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    let_days_pass(monkeypatch, AUDIT_DAYS - 1)
    assert vacuum(table, delete=True).is_empty()
    assert len(files_on_disk(table)) == 6


def test_without_being_told_to_delete_it_only_lists(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    let_days_pass(monkeypatch, AUDIT_DAYS + 1)
    version, before = table.version(), files_on_disk(table)
    removals = vacuum(table)
    assert removals["why"].to_list() == ["replaced"] * 5
    assert removals["bytes"].sum() == sum((table.path / name).stat().st_size for name in removals["file"])
    assert (table.version(), files_on_disk(table)) == (version, before)


def test_replaced_files_go_after_the_audit_window_and_the_chain_says_so(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table.scan().collect()
    let_days_pass(monkeypatch, AUDIT_DAYS + 1)
    removals = vacuum(table, delete=True)
    (left,) = files_on_disk(table)
    assert [str(table.path / left)] == table.files()
    assert '"operation":"vacuum"' in (table.path / "_chain" / "000000.txt").read_text().splitlines()[-1]
    verified = verify_ledger(open_ledger(table.path.parent))
    assert verified.findings.is_empty()
    assert verified.heads["unproven"].to_list() == [1]
    assert table.scan().collect().equals(rows)
    assert removals.height == 5
    assert vacuum(table, delete=True).is_empty()
    fill(table, 100, 20)
    assert compact(table, "2026-10") == 2
    assert verify(table).is_empty()


def test_what_no_commit_names_goes_after_a_day(table: LedgerTable) -> None:
    old, young = leave_orphan(table, 2), leave_orphan(table, 0)
    spilled = table.path / "_spill-dead" / "000000000" / "rows.parquet"
    spilled.parent.mkdir(parents=True)
    spilled.write_bytes(b"rows")
    os.utime(spilled, (0, 0))
    removals = vacuum(table, delete=True)
    assert removals.select("file", "why").rows() == [("_spill-dead/000000000/rows.parquet", "orphan"), (old, "orphan")]
    assert young in files_on_disk(table)
    assert verify(table).is_empty()


@pytest.mark.parametrize("keep_days", [AUDIT_DAYS - 1, 1])
def test_fewer_days_than_the_audit_window_must_be_said(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch, keep_days: int
) -> None:
    let_days_pass(monkeypatch, keep_days + 1)
    with pytest.raises(Refused, match="--below-audit-window"):
        vacuum(table, keep_days, delete=True)
    assert vacuum(table, keep_days, delete=True, below_audit_window=True).height == 5


@pytest.mark.parametrize("keep_days", [0, -1])
def test_a_replaced_file_is_kept_for_a_day_at_least(table: LedgerTable, keep_days: int) -> None:
    with pytest.raises(Refused, match="for a day at least"):
        vacuum(table, keep_days, below_audit_window=True)


def test_a_file_of_the_ledger_that_the_log_was_made_to_forget_is_no_orphan(table: LedgerTable) -> None:
    for file in table.path.rglob("*.parquet"):
        os.utime(file, (0, 0))
    handle = table.pin()
    assert handle is not None
    handle.delete()
    assert vacuum(table, delete=True).is_empty()
    assert len(files_on_disk(table)) == 6


def test_nothing_goes_while_the_chain_is_damaged(table: LedgerTable) -> None:
    leave_orphan(table, 2)
    chain = table.path / "_chain" / "000000.txt"
    chain.write_text(chain.read_text().replace('"rows":20', '"rows":21', 1))
    with pytest.raises(BrokenPromise, match="nothing is deleted"):
        vacuum(table)


@pytest.mark.parametrize("which", ["old", "new"])
def test_nothing_goes_when_the_compaction_cannot_be_proven(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    new = Path(table.files()[0])
    old = next(file for file in sorted(new.parent.iterdir()) if file != new)
    change_byte(new if which == "new" else old, 100)
    let_days_pass(monkeypatch, AUDIT_DAYS + 1)
    with pytest.raises(BrokenPromise, match="the file was changed"):
        vacuum(table, delete=True)
    assert len(files_on_disk(table)) == 6


def test_nothing_goes_when_the_compaction_changed_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = filled(tmp_path)
    forged = table.scan().collect().with_columns(quantity_quanta=pl.lit(1, pl.Int64))
    files = write_files(table.store, forged, "usage_month", table.sort_by, data_change=False)
    table.swap_files(table.describe_files()["path"].to_list(), files, expected={"compact:2026-10/0": None})
    let_days_pass(monkeypatch, AUDIT_DAYS + 1)
    with pytest.raises(BrokenPromise, match="did not keep the rows"):
        vacuum(table, delete=True)


def test_a_vacuum_that_died_after_its_commit_is_finished_by_the_next(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_days_pass(monkeypatch, AUDIT_DAYS + 1)

    def die(store: Store, names: list[str]) -> None:
        store.delete(names[0])
        raise LedgerUnwritable(store, "the disk went away")

    with monkeypatch.context() as dying:
        dying.setattr(ledger.vacuum, "_delete", die)
        with pytest.raises(LedgerUnwritable):
            vacuum(table, delete=True)
    assert verify(table).is_empty()
    assert vacuum(table, delete=True)["why"].to_list() == ["orphan"] * 4
    assert len(files_on_disk(table)) == 1
    assert verify(table).is_empty()


def test_a_ledger_that_was_never_written_has_nothing_to_delete(tmp_path: Path) -> None:
    assert vacuum(open_ledger(tmp_path).postings, delete=True).is_empty()
