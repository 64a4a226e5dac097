"""Who may write the ledger: many workers together, or one command that rates a file alone.

The lock is the operating system's: it ends with the process that holds it, also when that is killed. The lock file names its
holders, one line of process id and command each, only so that a refusal can say who it is.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import LedgerBusy, LedgerUnwritable

LOCK_FILE = ".writer.lock"

TURN_FILE = "_turn.lock"

TURN_SECONDS = 0.5
"""How long a writer waits for its turn. The holder may have been suspended, so it then commits without."""


@contextmanager
def writer_lock(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the ledger folder for writing; creates the folder if need be. Never waits.

    Args:
        exclusive: True for the only writer (`boss rate FILE`), False for one worker among others.

    Raises:
        LedgerBusy: Somebody holds it in a way that does not go together with this.
        LedgerUnwritable: The folder or its lock file cannot be written.
    """
    path = Path(folder) / LOCK_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o664)
    except OSError as error:
        raise LedgerUnwritable(folder, str(error)) from error
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            _sign(descriptor, alone=exclusive)
        except BlockingIOError as error:
            raise LedgerBusy(folder, ", ".join(_holders(descriptor)) or None) from error
        except OSError as error:
            raise LedgerUnwritable(folder, str(error)) from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def commit_turn(folder: Path) -> Iterator[None]:
    """Wait until no other process commits to the table in `folder`, at most TURN_SECONDS.

    A courtesy, no guard: it only saves writers from attempts that would fail. Where it cannot be had there is none.
    """
    try:
        descriptor = os.open(folder / TURN_FILE, os.O_RDWR | os.O_CREAT, 0o664)
    except OSError:
        yield
        return
    try:
        until = time.monotonic() + TURN_SECONDS
        while not _locked(descriptor) and time.monotonic() < until:
            time.sleep(0.002)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sign(descriptor: int, *, alone: bool) -> None:
    """Write our line. Lines of holders that have gone are left out; the next one to sign clears ours."""
    lines = [] if alone else _holders(descriptor)
    lines.append(f"process {os.getpid()}: {' '.join(sys.argv)}".replace("\n", " "))
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, "".join(f"{line}\n" for line in lines).encode(), 0)


def _holders(descriptor: int) -> list[str]:
    """Lines of those who still run."""
    text = os.pread(descriptor, 65_536, 0).decode(errors="replace")
    return [line for line in text.splitlines() if _runs(line)]


def _runs(line: str) -> bool:
    number = line.removeprefix("process ").partition(":")[0]
    if not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
