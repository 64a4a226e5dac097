"""Workers write the ledger together; a command that rates a file writes it alone."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ledger.lock import LOCK_FILE, TURN_SECONDS, commit_turn, writer_lock
from schemas.errors import LedgerBusy, LedgerUnwritable


def hold(folder: Path, exclusive: bool, line: Connection) -> None:
    with writer_lock(folder, exclusive=exclusive):
        line.send("held")
        line.recv()


@contextmanager
def held_elsewhere(folder: Path, *, exclusive: bool) -> Iterator[int]:
    """Another process holds the lock; gives its id."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(folder, exclusive, theirs))
    process.start()
    try:
        assert process.pid is not None
        assert ours.poll(30)
        assert ours.recv() == "held"
        yield process.pid
    finally:
        if process.is_alive():
            ours.send("let go")
        process.join(30)


def test_workers_share_the_ledger_and_keep_the_single_writer_out(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path, exclusive=False) as worker:
        with writer_lock(tmp_path, exclusive=False):
            pass
        with pytest.raises(LedgerBusy, match=rf"process {worker}: ") as refusal, writer_lock(tmp_path, exclusive=True):
            pass
        assert str(tmp_path) in str(refusal.value)
    with writer_lock(tmp_path, exclusive=True):
        pass


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_single_writer_keeps_everybody_out_and_is_named(tmp_path: Path, exclusive: bool) -> None:
    with (
        held_elsewhere(tmp_path, exclusive=True) as holder,
        pytest.raises(LedgerBusy, match=rf"process {holder}: "),
        writer_lock(tmp_path, exclusive=exclusive),
    ):
        pass


def test_a_killed_holder_holds_nothing_and_is_not_named_again(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path, exclusive=True) as holder:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        with writer_lock(tmp_path, exclusive=False):
            assert f"process {holder}:" not in (tmp_path / LOCK_FILE).read_text()
            assert f"process {os.getpid()}:" in (tmp_path / LOCK_FILE).read_text()


def test_a_lock_is_let_go_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer_lock(tmp_path / "new" / "folder", exclusive=True):
        raise ZeroDivisionError
    with writer_lock(tmp_path / "new" / "folder", exclusive=True):
        pass


def test_a_folder_that_cannot_hold_the_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file")
    with pytest.raises(LedgerUnwritable, match="ledger cannot be written"), writer_lock(tmp_path / "ledger", exclusive=True):
        pass


def test_writers_of_a_table_take_turns(tmp_path: Path) -> None:
    with commit_turn(tmp_path):
        began = time.monotonic()
        with commit_turn(tmp_path):
            assert time.monotonic() - began >= TURN_SECONDS, "it waits, but not for ever: the other may be suspended"
    began = time.monotonic()
    with commit_turn(tmp_path), commit_turn(tmp_path / "no such folder"):
        assert time.monotonic() - began < TURN_SECONDS


def test_a_lock_file_that_has_no_room_for_its_holder_is_a_ledger_that_cannot_be_written(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(LedgerUnwritable, match="File too large"), writer_lock(tmp_path, exclusive=False):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
