"""Nothing in the ledger can be changed, removed or added without being found and named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction

import ledger.chain
import ledger.history
from ledger.book import open_ledger
from ledger.chain import CHAIN_SOURCE, Chain, Change, read_head
from ledger.delta import write_files
from ledger.maintain import compact
from ledger.table import LedgerTable
from ledger.verify import verify, verify_ledger
from schemas.errors import BadInput, BrokenPromise
from tests.ledger_world import KAFKA, change_byte, fill, filled, postings

CHAIN_FILE = Path("_chain") / "000000.txt"


@pytest.fixture
def table(tmp_path: Path) -> LedgerTable:
    return filled(tmp_path)


def whats(table: LedgerTable) -> list[tuple[str, str]]:
    """File and what is wrong with it."""
    return verify(table).select("file", "what").rows()


def lines(table: LedgerTable) -> list[str]:
    return (table.path / CHAIN_FILE).read_text().splitlines()


def write_lines(table: LedgerTable, changed: list[str]) -> None:
    (table.path / CHAIN_FILE).write_text("".join(f"{line}\n" for line in changed))


def name_of(table: LedgerTable, file: str) -> str:
    return Path(file).relative_to(table.path).as_posix()


def head_of(table: LedgerTable) -> str:
    (head,) = verify_ledger(open_ledger(table.path.parent)).heads["head"]
    return str(head)


def seal_again(line: str, change: Callable[[str], str]) -> str:
    """A line edited by somebody who knows how its digest is made."""
    text = change(line[65:])
    return f"{hashlib.sha256(text.encode()).hexdigest()} {text}"


def test_a_ledger_as_it_was_committed_has_no_findings(table: LedgerTable) -> None:
    fill(table, 100, 5, month="2026-11")
    assert verify(table).is_empty()
    assert len(lines(table)) == 6
    compact(table, "2026-10")
    fill(table, 105, 5)
    assert verify(table).is_empty()


def test_a_ledger_that_was_never_written_has_neither_findings_nor_heads(tmp_path: Path) -> None:
    verified = verify_ledger(open_ledger(tmp_path))
    assert verified.findings.is_empty()
    assert verified.heads.is_empty()
    assert list(tmp_path.iterdir()) == []


def test_an_auditor_can_check_the_chain_with_sha256sum(table: LedgerTable) -> None:
    previous = None
    for number, line in enumerate(lines(table), 1):
        digest, _, text = line.partition(" ")
        assert hashlib.sha256(text.encode()).hexdigest() == digest
        entry = json.loads(text)
        assert entry["number"] == number
        assert previous in (None, entry["previous"])
        previous = digest
        (added,) = entry["added"]
        assert hashlib.sha256((table.path / added["path"]).read_bytes()).hexdigest() == added["sha256"]
    assert head_of(table) == f"postings/5/{previous}"


@pytest.mark.parametrize("place", [0, 0.1, 0.5, 0.9, 0.999])
def test_one_changed_byte_is_found_and_its_file_named(table: LedgerTable, place: float) -> None:
    file = Path(table.files()[2])
    change_byte(file, int(file.stat().st_size * place))
    (finding,) = verify(table).to_dicts()
    assert finding["file"] == name_of(table, str(file))
    assert finding["what"].startswith("the file was changed; ")
    assert finding["found"] == hashlib.sha256(file.read_bytes()).hexdigest() != finding["expected"]


def test_the_first_row_group_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("delta", "proof", "verify"):
        monkeypatch.setattr(f"ledger.{module}.ROW_GROUP_ROWS", 100)
    table = open_ledger(tmp_path).postings
    fill(table, 0, 300)
    file = Path(table.files()[0])
    size = file.stat().st_size
    data = bytearray(file.read_bytes())
    middle = range(int(size * 0.30), int(size * 0.50))
    data[middle.start : middle.stop] = bytes(len(middle))
    file.write_bytes(data)
    ((_, what),) = whats(table)
    assert what == "the file was changed; row group 2 of 3 cannot be read"


def test_a_file_cut_short_is_found(table: LedgerTable) -> None:
    file = Path(table.files()[0])
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-7])
    assert whats(table) == [(name_of(table, str(file)), f"the file was changed; it has {size - 7} bytes and had {size}")]


def test_a_removed_file_is_found(table: LedgerTable) -> None:
    file = Path(table.files()[1])
    file.unlink()
    assert whats(table) == [(name_of(table, str(file)), "the file is gone")]


def test_two_files_that_changed_places_are_found(table: LedgerTable) -> None:
    first, second = (Path(file) for file in table.files()[:2])
    first.rename(first.with_suffix(".away"))
    second.rename(first)
    first.with_suffix(".away").rename(second)
    assert {file for file, _ in whats(table)} == {name_of(table, str(first)), name_of(table, str(second))}


def test_rows_added_by_other_hands_are_found(table: LedgerTable) -> None:
    (added,) = write_files(table.store, postings(900, 3), "usage_month", [])
    handle = DeltaTable(table.path)
    handle.create_write_transaction([added.action], "append", handle.schema(), ["usage_month"])
    assert sorted(whats(table)) == [
        (f"_delta_log/{6:020}.json", "the commit was not made by BOSS: it is not in the chain"),
        (added.seal.path, "the table has a file that no commit added"),
    ]
    fill(table, 100, 5)
    assert added.seal.path in dict(whats(table)), "a later commit of ours does not bless it"


def test_rows_removed_by_other_hands_are_found(table: LedgerTable) -> None:
    DeltaTable(table.path).delete("account_id = 'account-3'")
    found = whats(table)
    assert sum(what == "the table lacks a file that a commit added" for _, what in found) == 5
    assert any(what == "the table has a file that no commit added" for _, what in found)


def test_a_position_moved_by_other_hands_is_found(table: LedgerTable) -> None:
    handle = DeltaTable(table.path)
    handle.create_write_transaction(
        [],
        "append",
        handle.schema(),
        ["usage_month"],
        commit_properties=CommitProperties(app_transactions=[Transaction(KAFKA, 7)]),
    )
    assert ("_delta_log", f"the position of {KAFKA} was changed") in whats(table)


def test_an_edited_entry_is_found(table: LedgerTable) -> None:
    write_lines(
        table, [line.replace('"rows":20', '"rows":21') if place == 2 else line for place, line in enumerate(lines(table))]
    )
    assert (str(CHAIN_FILE), "entry 3 of the chain was changed") in whats(table)


def test_an_entry_edited_together_with_its_digest_is_found(table: LedgerTable) -> None:
    changed = lines(table)
    changed[2] = seal_again(changed[2], lambda text: text.replace('"rows":20', '"rows":21'))
    write_lines(table, changed)
    found = verify(table).row(0, named=True)
    assert found["what"] == "entry 3 of the chain is another one"
    assert found["found"] == changed[2][:64]


@pytest.mark.parametrize("gone", [0, 2, 4], ids=["first", "middle", "last"])
def test_an_entry_cut_out_of_the_chain_is_found(table: LedgerTable, gone: int) -> None:
    kept = lines(table)
    del kept[gone]
    write_lines(table, kept)
    assert (str(CHAIN_FILE), f"entry {gone + 1} of the chain is missing") in whats(table)


def test_a_chain_without_its_file_is_found(table: LedgerTable) -> None:
    shutil.rmtree(table.path / "_chain")
    assert (str(CHAIN_FILE), "entry 5 of the chain is missing") in whats(table)


def test_entries_in_another_order_are_found(table: LedgerTable) -> None:
    swapped = lines(table)
    swapped[1], swapped[3] = swapped[3], swapped[1]
    write_lines(table, swapped)
    assert whats(table) == [(str(CHAIN_FILE), f"entry {number} of the chain is out of order") for number in (3, 2)]


def test_commits_in_another_order_are_found(table: LedgerTable) -> None:
    second, third = (table.path / "_delta_log" / f"{version:020}.json" for version in (2, 3))
    text = second.read_text()
    second.write_text(third.read_text())
    third.write_text(text)
    assert whats(table) == [(f"_delta_log/{3:020}.json", "the commits are out of order")]


def test_a_commit_that_adds_another_file_than_its_entry_says_is_found(table: LedgerTable) -> None:
    commit = table.path / "_delta_log" / f"{3:020}.json"
    (name,) = [json.loads(line)["add"]["path"] for line in commit.read_text().splitlines() if '"add"' in line]
    copy = name.replace("part-", "part-copy-")
    shutil.copy(table.path / name, table.path / copy)
    parts = commit.read_text().splitlines()
    commit.write_text("\n".join(line.replace(name, copy) if '{"add"' in line else line for line in parts))
    found = whats(table)
    assert (f"_delta_log/{3:020}.json", "the commit adds other files") in found
    assert (copy, "the table has a file that no commit added") in found


def test_a_ledger_set_back_to_an_earlier_day_agrees_with_itself_but_not_with_a_noted_head(table: LedgerTable) -> None:
    shutil.copytree(table.path, table.path.with_name("kept"))
    fill(table, 100, 5)
    noted = head_of(table)
    shutil.rmtree(table.path)
    table.path.with_name("kept").rename(table.path)
    assert verify(table).is_empty()
    (finding,) = verify_ledger(open_ledger(table.path.parent), [noted]).findings.to_dicts()
    assert (finding["what"], finding["found"]) == ("the noted head 6 is not in the chain", "the chain ends at entry 5")


def test_a_copy_made_while_workers_write_verifies_when_the_log_is_copied_first(table: LedgerTable, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "postings"
    shutil.copytree(table.path / "_delta_log", copy / "_delta_log")
    fill(table, 100, 5)
    compact(table, "2026-10")
    shutil.copytree(table.path, copy, ignore=shutil.ignore_patterns("_delta_log"), dirs_exist_ok=True)
    copied = open_ledger(copy.parent).postings
    assert verify(copied).is_empty()
    assert copied.scan().collect().height == 100
    fill(copied, 100, 5)
    assert verify(copied).is_empty()


def test_a_head_stays_in_the_chain_as_the_table_grows(table: LedgerTable) -> None:
    noted = head_of(table)
    fill(table, 100, 5)
    compact(table, "2026-10")
    assert verify_ledger(open_ledger(table.path.parent), [noted, head_of(table)]).findings.is_empty()


def test_a_chain_made_anew_after_a_change_agrees_with_itself_but_not_with_a_noted_head(tmp_path: Path) -> None:
    table = filled(tmp_path / "true")
    noted = head_of(table)
    forged = filled(tmp_path / "forged")
    assert verify_ledger(open_ledger(forged.path.parent), [noted]).findings["what"].to_list() == [
        "the noted head 5 is not in the chain"
    ]


def test_the_chain_of_another_table_does_not_pass(tmp_path: Path) -> None:
    table, other = filled(tmp_path / "a"), filled(tmp_path / "b")
    for file in (table.path / "_delta_log").glob("*.json"):
        text = file.read_text().replace(str(DeltaTable(table.path).metadata().id), "0" * 8)
        file.write_text(text)
    assert (str(CHAIN_FILE), "the chain begins in another table") in whats(open_ledger(tmp_path / "a").postings)
    assert verify(other).is_empty()


@pytest.mark.parametrize("text", ["", "postings", "postings/x/" + "0" * 64, "postings/1/00", "nothing/1/" + "0" * 64])
def test_what_is_no_head_is_refused(table: LedgerTable, text: str) -> None:
    with pytest.raises(BadInput):
        verify_ledger(open_ledger(table.path.parent), [text])


def test_a_table_whose_log_is_gone_is_found(table: LedgerTable) -> None:
    shutil.rmtree(table.path / "_delta_log")
    assert whats(table) == [("_delta_log", "the table is gone, its chain is there")]


def test_a_log_that_cannot_be_read_is_found(table: LedgerTable) -> None:
    (table.path / "_delta_log" / f"{2:020}.json").write_text("{")
    ((file, what),) = whats(open_ledger(table.path.parent).postings)
    assert (file, what) == ("_delta_log", "the log cannot be read")


def test_a_compaction_that_changes_a_row_is_found(table: LedgerTable) -> None:
    """Somebody who knows everything makes a proper commit of it; the files that were replaced still tell."""
    rows = table.scan().collect()
    forged = rows.with_columns(
        quantity_quanta=pl.when(pl.col("stream_offset") == 50).then(999).otherwise(pl.col("quantity_quanta"))
    )
    files = write_files(table.store, forged, "usage_month", table.sort_by, data_change=False)
    table.swap_files(table.describe_files()["path"].to_list(), files, expected={"compact:2026-10/0": None})
    assert whats(table) == [(files[0].seal.path, "the compaction in entry 6 did not keep the rows")]


def test_a_changed_file_cannot_hide_behind_a_compaction(table: LedgerTable) -> None:
    file = Path(table.files()[2])
    forged = pl.read_parquet(file, hive_partitioning=False).with_columns(quantity_quanta=pl.lit(1, pl.Int64))
    forged.write_parquet(file)
    version = table.version()
    with pytest.raises(BrokenPromise, match="the file was changed"):
        compact(table, "2026-10")
    assert table.version() == version
    assert not list(table.path.glob("_spill-*"))


def test_a_replaced_file_is_still_watched(table: LedgerTable) -> None:
    replaced = table.files()[0]
    compact(table, "2026-10")
    change_byte(Path(replaced), 100)
    ((file, what),) = whats(table)
    assert file == name_of(table, replaced)
    assert what.startswith("the file was changed")


def test_a_chain_of_many_files_is_followed_through_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.chain, "SEGMENT_ENTRIES", 4)
    table = filled(tmp_path, commits=10)
    assert len(list((table.path / "_chain").iterdir())) == 3
    assert verify(table).is_empty()
    file = table.path / "_chain" / "000001.txt"
    file.write_text(file.read_text().replace('"rows":20', '"rows":19', 1))
    assert whats(table)[0] == ("_chain/000001.txt", "entry 5 of the chain was changed")


def test_the_chain_outlives_the_cleaning_of_the_log(table: LedgerTable) -> None:
    for first in range(100, 200, 20):
        fill(table, first, 20)
    DeltaTable(table.path).create_checkpoint()
    for version in range(10):
        (table.path / "_delta_log" / f"{version:020}.json").unlink()
    again = open_ledger(table.path.parent).postings
    assert verify(again).is_empty()
    fill(again, 200, 20)
    assert verify(again).is_empty()
    change_byte(Path(again.files()[0]), 50)
    assert len(whats(again)) == 1


class Killed(BaseException):
    """The process dies here."""


def test_a_writer_killed_between_chain_and_commit_leaves_a_line_that_means_nothing(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object, **named: object) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(DeltaTable, "create_write_transaction", die)
        with pytest.raises(Killed):
            fill(table, 100, 20)
    assert len(lines(table)) == 6
    successor = open_ledger(table.path.parent).postings
    assert verify(successor).is_empty()
    fill(successor, 100, 20)
    assert len(lines(table)) == 7
    assert verify(successor).is_empty()
    assert head_of(table).startswith(f"postings/6/{lines(table)[6][:64]}")


def test_a_line_without_its_commit_does_not_bless_a_file(table: LedgerTable) -> None:
    """The digest of a changed file, written into the chain in proper form, leads nowhere: the head does not lead to it."""
    file = Path(table.files()[0])
    change_byte(file, 60)
    name = name_of(table, str(file))
    (place,) = [at for at, line in enumerate(lines(table)) if name in line]
    old = json.loads(lines(table)[place][65:])["added"][0]["sha256"]
    new = hashlib.sha256(file.read_bytes()).hexdigest()
    changed = lines(table)
    changed.insert(place, seal_again(changed[place], lambda text: text.replace(old, new)))
    write_lines(table, changed)
    assert [file for file, _ in whats(table)] == [name]


def test_a_writer_killed_while_it_writes_the_chain_leaves_half_a_line_that_means_nothing(table: LedgerTable) -> None:
    with (table.path / CHAIN_FILE).open("a") as file:
        file.write(lines(table)[0][:90])
    assert verify(table).is_empty()
    fill(table, 100, 20)
    assert verify(table).is_empty()


def test_a_writer_killed_after_its_commit_has_lost_nothing(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Chain) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(Chain, "committed", die)
        with pytest.raises(Killed):
            fill(table, 100, 20)
    successor = open_ledger(table.path.parent).postings
    assert successor.position(KAFKA) == 119
    assert verify(successor).is_empty()
    fill(table, 120, 20)
    fill(successor, 140, 20)
    assert verify(successor).is_empty()


def test_writers_of_different_sources_make_one_chain(table: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rival commits after our entry was written and before our commit, so ours is written again, after the rival's."""
    rival = open_ledger(table.path.parent).postings
    declare = Chain.declare

    def declare_while_the_rival_commits(self: Chain, handle: DeltaTable, change: Change) -> ledger.chain.Entry:
        entry = declare(self, handle, change)
        monkeypatch.setattr(Chain, "declare", declare)
        monkeypatch.setattr("ledger.lock.TURN_SECONDS", 0)
        fill(rival, 0, 3, partition=1)
        return entry

    monkeypatch.setattr(Chain, "declare", declare_while_the_rival_commits)
    fill(table, 100, 20)
    assert [json.loads(line[65:])["number"] for line in lines(table)] == [1, 2, 3, 4, 5, 6, 6, 7]
    assert verify(table).is_empty()
    assert table.scan().collect().height == 123


def test_a_commit_by_other_hands_does_not_stop_the_chain(table: LedgerTable) -> None:
    handle = DeltaTable(table.path)
    handle.create_write_transaction([], "append", handle.schema(), ["usage_month"])
    fill(table, 100, 20)
    assert [what for _, what in whats(table)] == ["the commit was not made by BOSS: it is not in the chain"]


def test_a_log_that_lost_the_head_takes_no_more_commits(table: LedgerTable) -> None:
    commit = table.path / "_delta_log" / f"{5:020}.json"
    commit.write_text("\n".join(line for line in commit.read_text().splitlines() if "commitInfo" not in line))
    for version in range(1, 5):
        other = table.path / "_delta_log" / f"{version:020}.json"
        other.write_text("\n".join(line for line in other.read_text().splitlines() if "commitInfo" not in line))
    again = open_ledger(table.path.parent).postings
    with pytest.raises(BrokenPromise, match="does not say where its chain stands"):
        fill(again, 100, 20)
    assert ("_delta_log", "the newest commit does not say where the chain stands") in whats(again)


def test_the_head_is_what_the_newest_commit_says(table: LedgerTable) -> None:
    handle = DeltaTable(table.path)
    head = read_head(table.store, handle)
    assert head is not None
    assert (head.number, head.digest) == (handle.transaction_version(CHAIN_SOURCE), lines(table)[-1][:64])
