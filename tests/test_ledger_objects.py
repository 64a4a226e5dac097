"""A ledger in object storage keeps the promises of one in a folder."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import obstore
import polars as pl
import pytest

import ledger.chain
import ledger.objects
import ledger.vacuum
from ledger.book import Ledger, open_ledger
from ledger.chain import CHAIN_FOLDER
from ledger.maintain import compact, stats
from ledger.objects import ObjectPlace
from ledger.table import LedgerTable, source_id
from ledger.vacuum import vacuum
from ledger.verify import verify, verify_ledger
from schemas.errors import BrokenPromise, Fenced, LedgerUnreachable, LedgerUnwritable
from schemas.ledger import POSTINGS
from tests.ledger_world import KAFKA, fill, filled, postings
from tests.s3 import ObjectServer, Refusal

OTHER = source_id("kafka:usage@1", 1)
LOG_ENTRIES = r"/_delta_log/\d+\.json"


@pytest.fixture
def place(objects: ObjectServer, tmp_path: Path) -> ObjectPlace:
    return objects.place(tmp_path)


@pytest.fixture
def table(place: ObjectPlace) -> LedgerTable:
    return open_ledger(place).postings


def elsewhere(place: ObjectPlace, folder: Path) -> Ledger:
    """The same ledger as another machine sees it."""
    return open_ledger(replace(place, cache=folder))


def object_names(table: LedgerTable, below: str = "") -> list[str]:
    return [file.name for file in table.store.files(below)]


def data_files(table: LedgerTable) -> list[str]:
    return [name for name in object_names(table) if name.endswith(".parquet") and "_delta_log" not in name]


def offsets_in(table: LedgerTable) -> list[int]:
    return sorted(table.scan().collect()["stream_offset"].to_list())


def whats(table: LedgerTable) -> list[tuple[str, str]]:
    return list(verify(table)["file", "what"].iter_rows())


def overwrite(place: ObjectPlace, table: LedgerTable, name: str, data: bytes) -> None:
    """As somebody would who has the bucket's keys and means harm."""
    obstore.put(place.client, f"{place.prefix}/{table.store.name}/{name}", data)


def test_object_storage_holds_the_rows_and_positions_that_a_folder_holds(table: LedgerTable, tmp_path: Path) -> None:
    on_disk = filled(tmp_path / "disk", commits=3)
    for first in (0, 20, 40):
        fill(table, first, 20)
    order = ["stream_offset"]
    assert table.scan().sort(order).collect().equals(on_disk.scan().sort(order).collect())
    assert (table.version(), table.position(KAFKA), table.position(OTHER)) == (3, 59, None)
    assert stats(table)["month", "rows", "files"].equals(stats(on_disk)["month", "rows", "files"])
    assert not list(table.path.parent.rglob("_delta_log")), "nothing but data files is kept here"


def test_another_machine_reads_the_same_and_writes_on(table: LedgerTable, place: ObjectPlace, tmp_path: Path) -> None:
    fill(table, 0, 20)
    other = elsewhere(place, tmp_path / "other").postings
    assert offsets_in(other) == list(range(20))
    fill(other, 20, 20)
    assert offsets_in(table) == list(range(40))
    assert table.position(KAFKA) == 39


def test_of_two_writers_of_one_source_one_is_fenced(table: LedgerTable, place: ObjectPlace, tmp_path: Path) -> None:
    fill(table, 0, 20)
    rival = elsewhere(place, tmp_path / "other").postings
    assert rival.position(KAFKA) == 19
    fill(table, 20, 20)
    with pytest.raises(Fenced):
        rival.append(postings(20, 5), expected={KAFKA: 19}, reached={KAFKA: 24})
    assert offsets_in(rival) == list(range(40))


def test_writers_at_the_same_moment_add_every_batch_once(table: LedgerTable, place: ObjectPlace, tmp_path: Path) -> None:
    """Three sources and two writers of each: whoever is fenced takes the position anew, as a worker does."""

    def write(number: int) -> None:
        mine = elsewhere(place, tmp_path / str(number)).postings
        source = source_id("kafka:usage@1", number % 3)
        while (at := mine.position(source)) is None or at < 8:
            first = 0 if at is None else at + 1
            try:
                fill(mine, first, 3, partition=number % 3)
            except Fenced:
                continue

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write, range(6)))
    rows = table.scan().collect()
    assert rows.group_by("stream_partition", "stream_offset").len()["len"].to_list() == [1] * 27
    assert whats(table) == []


def test_a_writer_that_dies_before_its_commit_leaves_an_orphan_that_vacuum_finds(
    table: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(table, 0, 20)
    (whole,) = data_files(table)
    with monkeypatch.context() as dying:
        dying.setattr(LedgerTable, "_commit", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fill(table, 20, 20)
    assert offsets_in(table) == list(range(20))
    (orphan,) = set(data_files(table)) - {whole}
    assert vacuum(table).is_empty(), "it may belong to a commit that is being made"
    monkeypatch.setattr(ledger.vacuum, "ORPHAN_DAYS", -1)
    assert vacuum(table, delete=True)["file"].to_list() == [orphan]
    assert data_files(table) == [whole]
    assert whats(table) == []


@pytest.mark.parametrize("path", [r"\.parquet$", f"/{CHAIN_FOLDER}/", LOG_ENTRIES], ids=["data", "chain", "log"])
@pytest.mark.parametrize(("status", "says"), [(403, "refuses our credentials: AccessDenied"), (503, "says SlowDown")])
def test_a_store_that_refuses_leaves_the_table_as_it_was(
    objects: ObjectServer, place: ObjectPlace, monkeypatch: pytest.MonkeyPatch, path: str, status: int, says: str
) -> None:
    monkeypatch.setattr(ledger.objects, "RETRIES", 1)
    table = open_ledger(place).postings
    fill(table, 0, 20)
    objects.refuse(Refusal("PUT", path, status))
    with pytest.raises(LedgerUnreachable) as caught:
        fill(table, 20, 20)
    assert says in str(caught.value)
    assert (table.position(KAFKA), offsets_in(table)) == (19, list(range(20)))
    objects.refuse()
    fill(table, 20, 20)
    assert offsets_in(table) == list(range(40))
    assert whats(table) == []


def test_a_commit_whose_answer_got_lost_is_not_repeated(objects: ObjectServer, table: LedgerTable) -> None:
    fill(table, 0, 20)
    objects.refuse(Refusal("PUT", LOG_ENTRIES, afterwards=True, times=1))
    fill(table, 20, 20)
    fill(table, 40, 20)
    assert offsets_in(table) == list(range(60))
    assert whats(table) == []


def test_a_server_that_does_not_decide_who_was_first_is_refused(objects: ObjectServer, table: LedgerTable) -> None:
    objects.refuse(Refusal("PUT", ".", status=200))
    with pytest.raises(LedgerUnwritable, match="does not honour If-None-Match"):
        fill(table, 0, 20)
    with pytest.raises(LedgerUnwritable, match="does not honour If-None-Match"):
        table.join(alone=False)
    assert object_names(table) == []


def test_a_server_that_is_gone_is_named(place: ObjectPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.objects, "RETRIES", 1)
    gone = open_ledger(replace(place, endpoint="http://127.0.0.1:9")).postings
    for attempt in (lambda: fill(gone, 0, 20), gone.version, lambda: vacuum(gone), lambda: verify(gone)):
        with pytest.raises(LedgerUnreachable, match=r"127\.0\.0\.1:9 does not answer"):
            attempt()


@pytest.mark.parametrize(
    ("key", "bucket", "says"),
    [
        ("somebody else's", None, "refuses our credentials: InvalidAccessKeyId"),
        (None, "no-such-bucket", "has no bucket no-such-bucket"),
    ],
    ids=["credentials", "bucket"],
)
def test_what_is_wrong_with_the_settings_is_said(
    place: ObjectPlace, monkeypatch: pytest.MonkeyPatch, key: str | None, bucket: str | None, says: str
) -> None:
    if key:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not to be seen")
    table = open_ledger(replace(place, location=f"s3://{bucket}/acme") if bucket else place).postings
    for attempt in (lambda: fill(table, 0, 20), lambda: table.position(KAFKA), lambda: verify(table)):
        with pytest.raises(LedgerUnreachable) as caught:
            attempt()
        assert says in str(caught.value)
        assert "not to be seen" not in str(caught.value) + repr(place)


def test_verify_names_an_object_that_was_changed_or_is_gone(table: LedgerTable, place: ObjectPlace) -> None:
    for first in (0, 20, 40):
        fill(table, first, 20)
    table.files()  # the files in the cache are whole, and must not be what is looked at
    changed, gone = data_files(table)[:2]
    data = bytearray(table.store.read(changed))
    data[len(data) // 2] ^= 1
    overwrite(place, table, changed, bytes(data))
    table.store.delete(gone)
    found = dict(whats(table))
    assert found[gone] == "the file is gone"
    assert found[changed].startswith("the file was changed; ")
    assert len(found) == 2


def test_verify_names_an_entry_of_the_chain_that_was_changed_or_is_gone(table: LedgerTable, place: ObjectPlace) -> None:
    for first in range(0, 100, 20):
        fill(table, first, 20)
    (noted,) = verify_ledger(open_ledger(place)).heads["head"]
    entries = object_names(table, f"{CHAIN_FOLDER}/")
    assert [name.split("/")[-1].split("-")[0] for name in entries] == [f"{number:012}" for number in range(1, 6)]
    overwrite(place, table, entries[1], table.store.read(entries[1]).replace(b'"rows":20', b'"rows":21'))
    assert (f"{CHAIN_FOLDER}/000000/", "entry 2 of the chain was changed") in whats(table)
    table.store.delete(entries[1])
    assert (f"{CHAIN_FOLDER}/000000/", "entry 2 of the chain is missing") in whats(table)
    findings = verify_ledger(open_ledger(place), [noted]).findings
    assert not findings.filter(pl.col("what").str.contains("noted head")).height, "the newer entries still lead to it"


def test_a_chain_of_many_folders_is_followed_through_all_of_them(
    table: LedgerTable, place: ObjectPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.chain, "FOLDER_ENTRIES", 2)
    for first in range(0, 100, 20):
        fill(table, first, 20)
    assert len({name.split("/")[1] for name in object_names(table, f"{CHAIN_FOLDER}/")}) == 3
    assert whats(table) == []
    (entry,) = object_names(table, f"{CHAIN_FOLDER}/000002/")
    table.store.delete(entry)
    assert "entry 5 of the chain is missing" in dict(whats(table)).values()


def test_a_month_is_compacted_and_what_it_replaced_is_vacuumed(
    table: LedgerTable, place: ObjectPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(0, 100, 20):
        fill(table, first, 20)
    old = data_files(table)
    rows = table.scan().sort("stream_offset").collect()
    other = elsewhere(place, tmp_path / "other").postings
    assert compact(other, "2026-10") == 5
    assert len(table.files()) == 1
    assert table.scan().sort("stream_offset").collect().equals(rows)
    assert whats(table) == []
    monkeypatch.setattr(ledger.vacuum, "_due_compactions", lambda history, before: history.compactions)
    removed = vacuum(table, 1, delete=True, below_audit_window=True)
    assert sorted(removed["file"]) == sorted(old)
    assert all(removed["bytes"] > 0)
    assert len(data_files(table)) == 1
    assert whats(table) == []


def test_a_cached_file_that_is_not_whole_is_downloaded_again(table: LedgerTable) -> None:
    fill(table, 0, 20)
    (cached,) = table.files()
    Path(cached).write_bytes(b"cut short")
    assert offsets_in(table) == list(range(20))
    assert [path.name for path in table.path.rglob("*.part")] == []


def test_an_object_of_another_size_than_the_log_says_is_not_read(table: LedgerTable, place: ObjectPlace) -> None:
    fill(table, 0, 20)
    overwrite(place, table, data_files(table)[0], b"something else")
    with pytest.raises(LedgerUnreachable, match="run `boss ledger verify`"):
        table.scan()


def test_cached_files_that_nobody_asks_for_any_more_are_removed_a_day_later(table: LedgerTable) -> None:
    for first in (0, 20):
        fill(table, first, 20)
    old = [Path(file) for file in table.files()]
    compact(table, "2026-10")
    (new,) = table.files()
    assert all(path.exists() for path in old), "somebody may be reading them"
    yesterday = time.time() - 90_000
    for path in (*old, Path(new)):
        os.utime(path, (yesterday, yesterday))
    assert table.files() == [new]
    assert [path.exists() for path in (*old, Path(new))] == [False, False, True]


def append_alone(table: LedgerTable, first: int, source: str) -> None:
    before = first - 1 if first else None
    table.append(postings(first, 5).with_columns(stream=pl.lit(source)), expected={source: before}, reached={source: first + 4})


def test_of_two_lone_writers_the_slower_is_fenced(table: LedgerTable, place: ObjectPlace, tmp_path: Path) -> None:
    """`boss rate` of two files at once would count each the usage of the other not at all."""
    other = elsewhere(place, tmp_path / "other").postings
    table.join(alone=True)
    append_alone(table, 0, "file:a/0")
    other.join(alone=True)
    append_alone(other, 0, "file:b/0")
    with pytest.raises(Fenced):
        append_alone(table, 5, "file:a/0")
    append_alone(other, 5, "file:b/0")
    table.join(alone=True)
    append_alone(table, 5, "file:a/0")
    assert table.scan().collect().height == 20
    assert whats(table) == []


def test_a_compaction_does_not_disturb_a_lone_writer(table: LedgerTable, place: ObjectPlace, tmp_path: Path) -> None:
    fill(table, 0, 20)
    fill(table, 20, 20)
    table.join(alone=True)
    append_alone(table, 0, "file:a/0")
    assert compact(elsewhere(place, tmp_path / "other").postings, "2026-10") == 3
    append_alone(table, 5, "file:a/0")
    assert table.scan().collect().height == 50


def test_a_worker_whose_counters_are_older_than_a_lone_writers_rows_is_fenced(
    table: LedgerTable, place: ObjectPlace, tmp_path: Path
) -> None:
    fill(table, 0, 20)
    table.join(alone=False)
    lone = elsewhere(place, tmp_path / "other").postings
    lone.join(alone=True)
    fill(table, 20, 20)
    with pytest.raises(Fenced):
        append_alone(lone, 0, "file:a/0")
    lone.join(alone=True)
    append_alone(lone, 0, "file:a/0")
    with pytest.raises(Fenced):
        fill(table, 40, 20)
    table.join(alone=False)
    fill(table, 40, 20)
    assert table.position(KAFKA) == 59


def test_workers_do_not_fence_each_other(table: LedgerTable, place: ObjectPlace, tmp_path: Path) -> None:
    other = elsewhere(place, tmp_path / "other").postings
    table.join(alone=False)
    other.join(alone=False)
    for first in (0, 20, 40):
        fill(table, first, 20)
        fill(other, first, 20, partition=1)
    assert table.positions([KAFKA, OTHER]) == {KAFKA: 59, OTHER: 59}


def test_a_log_of_other_hands_is_no_fault_of_the_store(table: LedgerTable, place: ObjectPlace) -> None:
    overwrite(place, table, "_delta_log/00000000000000000000.json", b"{")
    with pytest.raises(BrokenPromise, match="cannot be read"):
        fill(open_ledger(place).postings, 0, 20)


def test_positions_outlive_checkpoints_and_the_cleaning_of_the_log(table: LedgerTable, place: ObjectPlace) -> None:
    empty = POSTINGS.empty()
    table.append(empty, expected={}, reached={"file:old/0": 7})
    for number in range(60):
        table.append(empty, expected={KAFKA: number - 1 if number else None}, reached={KAFKA: number})
    assert any(name.endswith(".checkpoint.parquet") for name in object_names(table, "_delta_log/"))
    fresh = open_ledger(place).postings
    assert fresh.positions(["file:old/0", KAFKA, "never/0"]) == {"file:old/0": 7, KAFKA: 59, "never/0": None}
    assert whats(table) == []
