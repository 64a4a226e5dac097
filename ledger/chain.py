"""The chain of a table: every commit names the digests of its files and the digest of the commit before it.

An entry is one line of text, `<digest> <what was committed>`, and its digest is the SHA-256 of what follows the space, so
anybody can check it with `sha256sum`. It is written beside the table before the commit, and the commit carries it too. Of the
lines in the chain's files those count that the newest commit leads back to; one whose commit did not happen leads nowhere.
In object storage, where nothing grows, each line is an object of its own, named by number and digest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from deltalake import DeltaTable

from ledger.store import Store
from schemas.errors import BrokenPromise

CHAIN_SOURCE = "chain/0"
"""Every commit moves this position by one. So of two commits at the same moment one must try again, after the other."""

CHAIN_FOLDER = "_chain"

LOG_FOLDER = "_delta_log"

SEGMENT_ENTRIES = 100_000
"""Entries per file of the chain."""

FOLDER_ENTRIES = 1_000
"""Entries per folder of the chain, where each is an object. A folder is what is read at a time."""

DIGEST_LETTERS = 64


class Operation(StrEnum):
    """What a commit does to the table."""

    APPEND = "append"  # rows that were not there before
    COMPACT = "compact"  # new files that hold the rows of the removed ones
    VACUUM = "vacuum"  # the removed files, replaced long ago, are about to be deleted


@dataclass(frozen=True)
class Seal:
    """What identifies a data file: its path within the table, the SHA-256 of its bytes, and its size."""

    path: str
    sha256: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Head:
    """A place in the chain: the number of an entry, from 1 on, and its digest. Number 0 is where the chain begins."""

    number: int
    digest: str


@dataclass(frozen=True)
class Change:
    """What one commit is about."""

    operation: Operation
    added: Sequence[Seal] = ()
    removed: Sequence[str] = ()
    positions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One commit in the chain. `previous` is the digest of the entry before, `at` the writer's clock in UTC."""

    number: int
    previous: str
    at: str
    change: Change

    @cached_property
    def text(self) -> str:
        """What the digest is taken of: JSON with sorted keys and sorted files, without spaces."""
        document = {
            "number": self.number,
            "previous": self.previous,
            "at": self.at,
            "operation": self.change.operation,
            "added": [vars(seal) for seal in sorted(self.change.added, key=lambda seal: seal.path)],
            "removed": sorted(self.change.removed),
            "positions": dict(self.change.positions),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @cached_property
    def head(self) -> Head:
        return Head(self.number, digest_of(self.text))

    def line(self) -> str:
        return f"{self.head.digest} {self.text}"


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def parse_entry(text: str) -> Entry | None:
    """The entry that a text says; None when it says none."""
    try:
        found = json.loads(text)
        change = Change(
            Operation(found["operation"]),
            [Seal(**seal) for seal in found["added"]],
            list(found["removed"]),
            {str(source): int(position) for source, position in found["positions"].items()},
        )
        return Entry(int(found["number"]), str(found["previous"]), str(found["at"]), change)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def origin_of(handle: DeltaTable) -> Head:
    """Where the chain of this very table begins: no other table's chain can stand in for it."""
    return Head(0, digest_of(f"boss ledger table {handle.metadata().id}"))


def read_head(store: Store, handle: DeltaTable) -> Head | None:
    """The newest entry in the chain of the handle's version, as its commit says it. The newest commit is never cleaned up.

    Returns:
        The chain's origin when nothing was committed yet; None when the log does not say (it was changed by other hands).
    """
    number = handle.transaction_version(CHAIN_SOURCE)
    if number is None:
        return origin_of(handle)
    for version in range(handle.version(), 0, -1):
        commit = read_commit(store, version)
        if commit is None:
            return None
        if commit.digest is not None and commit.entry is not None:
            return Head(number, commit.digest) if commit.entry.number == number else None
    return None


@dataclass(frozen=True)
class Commit:
    """One file of the Delta log: the entry it carries, and the data files and positions it really adds, removes and moves."""

    digest: str | None
    entry: Entry | None
    added: frozenset[str]
    removed: frozenset[str]
    positions: Mapping[str, int]


def read_commit(store: Store, version: int) -> Commit | None:
    """A version's commit as it is in the log of the table; None when it is not there or cannot be read."""
    actions: list[dict[str, dict[str, str]]] = []
    try:
        lines = store.read(f"{LOG_FOLDER}/{version:020}.json").decode().split("\n")
        actions = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError):
        return None
    carried = next((action["commitInfo"].get("chain") for action in actions if "commitInfo" in action), None)
    digest, _, text = (carried or "").partition(" ")
    return Commit(
        digest or None,
        parse_entry(text) if text else None,
        frozenset(action["add"]["path"] for action in actions if "add" in action),
        frozenset(action["remove"]["path"] for action in actions if "remove" in action),
        {action["txn"]["appId"]: int(action["txn"]["version"]) for action in actions if "txn" in action},
    )


def log_moved(store: Store, version: int) -> bool:
    """Whether the log has a commit after this version. Of a remote store it is not asked: the commit itself finds out."""
    return not store.remote and (store.folder / LOG_FOLDER / f"{version + 1:020}.json").exists()


class Chain:
    """Writes the chain of one table. Remembers the newest entry as long as nobody else adds one."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._newest: tuple[int, Head] | None = None  # a version of the table and its entry
        self._declared: tuple[int, Head] | None = None

    def declare(self, handle: DeltaTable, change: Change) -> Entry:
        """Write down the entry that is to be committed on top of the handle's version. It counts once it is committed.

        Raises:
            OSError: It cannot be written.
            BrokenPromise: The log does not say which entry is the newest.
        """
        version, head = self._newest or (None, None)
        self._newest = None
        if version != handle.version():
            head = read_head(self.store, handle)
        if head is None:
            raise BrokenPromise(f"The log of {self.store} does not say where its chain stands. Run `boss ledger verify`.")
        entry = Entry(head.number + 1, head.digest, datetime.now(UTC).isoformat(timespec="milliseconds"), change)
        _write_entry(self.store, entry)
        self._declared = (handle.version() + 1, entry.head)
        return entry

    def committed(self) -> None:
        """The entry last declared has become part of the chain."""
        self._newest = self._declared


def segment_entries(store: Store) -> int:
    """How many entries a segment has."""
    return FOLDER_ENTRIES if store.remote else SEGMENT_ENTRIES


def segment_name(store: Store, segment: int) -> str:
    """The file, or of a remote store the folder, of a segment's entries; the first is 0."""
    return f"{CHAIN_FOLDER}/{segment:06}" + ("/" if store.remote else ".txt")


def read_lines(store: Store, segment: int) -> list[str]:
    """The lines of a segment: as they were written, or by their numbers where each is an object."""
    name = segment_name(store, segment)
    try:
        texts = store.read_many([entry.name for entry in store.files(name)]) if store.remote else [store.read(name)]
    except OSError:
        return []
    return [line for text in texts for line in text.decode("utf-8", "replace").split("\n") if line]


def count_segments(names: Iterable[str]) -> int:
    """How many segments the names of files in the chain's folder are of."""
    return len({name.removeprefix(f"{CHAIN_FOLDER}/")[:6] for name in names})


def _write_entry(store: Store, entry: Entry) -> None:
    name = segment_name(store, (entry.number - 1) // segment_entries(store))
    if store.remote:
        data = f"{entry.line()}\n".encode()
        store.put(f"{name}{entry.number:012}-{entry.head.digest}.txt", memoryview(data))
    else:
        _write_line(store.folder / name, entry.line())


def _write_line(file: Path, line: str) -> None:
    """Add a line at the end and wait until it is on disk. A line cut short by a crash stays behind as a line of its own."""
    file.parent.mkdir(exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o664)
    try:
        size = os.fstat(descriptor).st_size
        cut_short = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (b"\n" if cut_short else b"") + f"{line}\n".encode()
        written = os.write(descriptor, data)
        if written < len(data):
            raise OSError(f"only {written} of {len(data)} bytes of {file} could be written")
        with suppress(OSError):  # a file system that cannot do this keeps no promises about power cuts
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
