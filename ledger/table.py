"""One table of the ledger: rows are added, never changed, and every addition says how far each source has been read.

A commit carries the rows together with the position (last offset) of every source they came from. It is a compare-and-swap:
it succeeds only if every source still stands where the writer believes it stands. So a batch is in the table once or not at
all, whatever crashes, and two writers of one source cannot both win.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from ledger.chain import CHAIN_SOURCE, LOG_FOLDER, Chain, Change, Operation, log_moved
from ledger.delta import DESCRIBED, DataFile, delta_schema, describe_files, one_line, write_files
from ledger.handles import create_table, open_table, open_version
from ledger.lock import commit_turn
from ledger.positions import ALONE_SOURCE, Grounds, Positions
from ledger.store import FolderStore, Store, asks_the_store
from schemas.errors import BrokenPromise, Fenced, LedgerUnwritable
from schemas.frames import FrameSchema

NO_VERSION = -1
"""Version of a table that has not been created yet: no rows, no files, no positions."""

REOPEN_COMMITS = 20
"""A handle of delta-rs slows down with every commit it makes; a fresh one costs a few milliseconds."""

STALE_SECONDS = 60
"""A handle that was not refreshed for this long is opened again: by then the log it knows may have been cleaned up."""

ATTEMPTS = 30
"""How often a commit is tried while others commit at the same moment."""

FOLDER_ATTEMPTS = 3
"""How often it is tried when the file system refuses."""


def source_id(stream: str, partition: int) -> str:
    """Name under which a table keeps the position of one source: ('kafka:usage@1', 3) is 'kafka:usage@1/3'."""
    return f"{stream}/{partition}"


def parse_source(source: str) -> tuple[str, int]:
    """The stream and partition that `source_id` was given."""
    stream, _, partition = source.rpartition("/")
    return stream, int(partition)


class LedgerTable:
    """A Delta table of one frame schema, created by the first append. One instance belongs to one thread.

    Args:
        place: Folder of the table, or the store that keeps it.
        schema: Columns and types; what is appended must have them exactly.
        partition_by: Column whose values get a folder each, or None.
        sort_by: Order of the rows inside each file.
    """

    def __init__(
        self, place: Path | Store, schema: FrameSchema, partition_by: str | None = None, sort_by: Sequence[str] = ()
    ) -> None:
        self.store: Store = FolderStore(place) if isinstance(place, Path) else place
        self.path = self.store.folder
        """Where its files are read: its folder, or that of the cache."""
        self.schema = schema
        self.partition_by = partition_by
        self.sort_by = list(sort_by)
        self._delta_schema = delta_schema(schema)
        self._chain = Chain(self.store)
        self._handle: DeltaTable | None = None
        self._commits = 0
        self._refreshed = 0.0
        self._before_reading: Callable[[], None] | None = None
        self._positions = Positions(self.store)
        self._grounds: Grounds | None = None

    def reader(self, before_reading: Callable[[], None]) -> LedgerTable:
        """The same table for another thread, which calls `before_reading` whenever it is about to look what there is."""
        twin = LedgerTable(self.store, self.schema, self.partition_by, self.sort_by)
        twin._before_reading = before_reading
        return twin

    @asks_the_store
    def join(self, *, alone: bool) -> None:
        """From now on the caller counts on what the table holds at this moment.

        Where no lock keeps writers apart, an append after which that may be untrue is fenced (`Grounds`).

        Args:
            alone: Nobody else may write meanwhile; otherwise no lone writer may.
        """
        if self.store.remote:
            self.store.prepare()
            handle = self._refresh()
            self._grounds = Grounds(alone, None) if handle is None else self._positions.grounds(handle, alone=alone)

    @asks_the_store
    def append(self, frame: pl.DataFrame, *, expected: Mapping[str, int | None], reached: Mapping[str, int]) -> None:
        """Add rows and move the positions of their sources, in one commit or not at all.

        Args:
            frame: Rows of the schema. Without rows only the positions move.
            expected: Position of each source before these rows; None or absent when nothing of it was read.
            reached: Position of each source after these rows; never before `expected`.

        Raises:
            Fenced: A source does not stand where `expected` says: another writer owns it now. Nothing was added.
            LedgerUnwritable: The folder cannot be written. Nothing was added.
            BrokenPromise: The frame is not of the schema, or a position would move back. Nothing was added.
        """
        rows = self.schema.select(frame)
        for source, position in reached.items():
            before = expected.get(source)
            if before is not None and position < before:
                raise BrokenPromise(f"{source} would move back from {before} to {position}")
        if not reached:
            raise BrokenPromise(f"an append to {self.store.name} names no source, so it could not be told from a repeated one")
        grounds = self._grounds
        if grounds is not None:
            expected = {**expected, **grounds.expected()}
        handle = self._refresh() or self._create()
        self._fence(handle, expected, reached)
        if rows.is_empty() and all(expected.get(source) == position for source, position in reached.items()):
            return
        if grounds is not None:
            reached = {**reached, **grounds.reached()}
        files = write_files(self.store, rows, self.partition_by, self.sort_by)
        change = Change(Operation.APPEND, [file.seal for file in files], positions=reached)
        version = self._commit(handle, change, [file.action for file in files], expected)
        if grounds is not None:
            grounds.committed(version)

    def position(self, source: str) -> int | None:
        """Last offset of the source that is in the table, None when there is none."""
        return self.positions([source])[source]

    @asks_the_store
    def positions(self, sources: Iterable[str]) -> dict[str, int | None]:
        """Last offset of each source, all read from one version."""
        handle = self._refresh()
        return {source: None if handle is None else self._positions.read(handle, source) for source in sources}

    @asks_the_store
    def version(self) -> int:
        """Newest version of the table; -1 when it has not been created yet."""
        handle = self._refresh()
        return NO_VERSION if handle is None else handle.version()

    @asks_the_store
    def files(self, version: int | None = None) -> list[str]:
        """Absolute paths of the Parquet files that make up a version (None: the newest), in the order of their names.

        Raises:
            Refused: The version cannot be opened any more. Versions stay open for about ten minutes.
        """
        handle = self._at(version)
        if handle is None:
            return []
        if self.store.remote:
            return self._cached(handle, newest=version is None)
        depth = 1 if self.partition_by is None else 2
        # delta-rs quotes the whole path; only what lies below the table's folder is ours to take from it.
        names = [unquote(uri).split("/")[-depth:] for uri in handle.file_uris()]
        return sorted(str(self.path.joinpath(*parts)) for parts in names)

    def _cached(self, handle: DeltaTable, *, newest: bool) -> list[str]:
        """Paths in this machine's cache of a version's files, in the order of their names."""
        files = [(str(name), int(size)) for name, size in describe_files(handle, self.partition_by)["path", "bytes"].rows()]
        paths = self.store.fetch(files)
        if newest:
            self.store.tidy([name for name, _ in files])
        return paths

    def scan(self, version: int | None = None) -> pl.LazyFrame:
        """Rows of a version (None: the newest) with the declared columns and types, in no order."""
        files = self.files(version)
        if not files:
            return self.schema.empty().lazy()
        # The folder's value is in the files too, so names on the way to the table are never taken for columns or patterns.
        return pl.scan_parquet(files, hive_partitioning=False, glob=False).select(self.schema.names())

    def scan_files(self, since: str | None = None, before: str | None = None) -> Iterator[pl.LazyFrame]:
        """The rows of each file of the newest version, with the declared columns and types.

        Args:
            since: Only files in folders of this value or a later one.
            before: Only files in folders of an earlier value.
        """
        files = self.describe_files()
        if since is not None:
            files = files.filter(pl.col("folder") >= since)
        if before is not None:
            files = files.filter(pl.col("folder") < before)
        for path in self.store.fetch(files["path", "bytes"].rows()):
            yield pl.scan_parquet(path, hive_partitioning=False, glob=False).select(self.schema.names())

    @asks_the_store
    def describe_files(self) -> pl.DataFrame:
        """The files of the newest version: `path` within the table's folder, `folder` value, `rows` and `bytes`."""
        handle = self._refresh()
        return pl.DataFrame(schema=DESCRIBED) if handle is None else describe_files(handle, self.partition_by)

    @asks_the_store
    def pin(self) -> DeltaTable | None:
        """The newest version as a handle of its own, which stays there; None when there is no table yet."""
        return self._open()

    @asks_the_store
    def swap_files(self, old: Sequence[str], new: Sequence[DataFile], *, expected: dict[str, int | None]) -> None:
        """Let new files stand for old ones that hold the same rows, in one commit. Appends may go on meanwhile.

        Args:
            old: Paths within the table's folder. They stay on disk for those who read an older version.
            expected: The positions that guard these files, read before they were listed; each moves on by one.

        Raises:
            Fenced: Another writer swapped files under the same guard first. Nothing was swapped.
        """
        handle = self._refresh() or self._create()
        self._fence(handle, expected, {})
        gone = [RemoveAction(path, False, int(time.time() * 1000)) for path in old]
        reached = {guard: 0 if position is None else position + 1 for guard, position in expected.items()}
        change = Change(Operation.COMPACT, [file.seal for file in new], old, reached)
        self._commit(handle, change, [*gone, *(file.action for file in new)], expected)

    @asks_the_store
    def record_vacuum(self, removed: Sequence[str]) -> None:
        """Say in the chain that these files, which the table replaced long ago, are about to be deleted."""
        self._commit(self._refresh() or self._create(), Change(Operation.VACUUM, removed=removed), [], {})

    def _refresh(self) -> DeltaTable | None:
        """The handle at the newest version; None when there is no table yet."""
        if self._before_reading is not None:
            self._before_reading()
        now = time.time()
        if self._handle is None or self._commits >= REOPEN_COMMITS or abs(now - self._refreshed) > STALE_SECONDS:
            self._handle = self._open()
            self._commits = 0
        else:
            self._handle.update_incremental()
        self._refreshed = now
        return self._handle

    def _open(self) -> DeltaTable | None:
        return open_table(self.store, self._delta_schema, self.schema.name)

    def _at(self, version: int | None) -> DeltaTable | None:
        if version is None:
            return self._refresh()
        return None if version == NO_VERSION else open_version(self.store, version)

    def _create(self) -> DeltaTable:
        try:
            create_table(self.store, self._delta_schema, self._folders())
        except (DeltaError, OSError) as error:
            gone = not self.store.remote and not (self.path / LOG_FOLDER).is_dir()
            if gone or (handle := self._refresh()) is None:
                raise self.store.unreachable(error) or LedgerUnwritable(self.store, one_line(error)) from error
            return handle  # another writer created it at the same moment
        handle = self._refresh()
        if handle is None:
            raise LedgerUnwritable(self.store, "the table was created and is not there")
        return handle

    def _folders(self) -> list[str] | None:
        return None if self.partition_by is None else [self.partition_by]

    def _fence(self, handle: DeltaTable, expected: Mapping[str, int | None], reached: Mapping[str, int]) -> None:
        moved = [s for s in sorted({*expected, *reached}) if self._positions.read(handle, s) != expected.get(s)]
        if self._grounds is not None and self._grounds.overtaken(self._positions):
            moved.append(ALONE_SOURCE)
        if moved:
            raise Fenced(moved)

    def _commit(
        self,
        handle: DeltaTable,
        change: Change,
        actions: Sequence[AddAction | RemoveAction],
        expected: Mapping[str, int | None],
    ) -> int:
        """Name the files and positions in the log, trying again with the same files until the outcome is known.

        Returns the version that the commit made.

        Whoever else commits at the same moment moves the chain, so our attempt fails and the next one stands on theirs. Taking
        turns makes that rare.
        """
        mark = uuid.uuid4().hex
        since = handle.version()
        reached = change.positions
        problem: Exception | None = None
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with commit_turn(self.path):
                    if problem is not None or log_moved(self.store, handle.version()):
                        handle = self._refresh() or self._create()
                        if (version := self._landed(handle, mark, since, reached)) is not None:
                            return version
                        self._fence(handle, expected, reached)
                    self._try_commit(handle, change, actions, mark)
                if abs(time.time() - self._refreshed) <= STALE_SECONDS:
                    self._chain.committed()
                    return handle.version() + 1
                self._handle = None  # we slept so long that the log may have moved on: look at the table afresh
                problem = DeltaError("the outcome of the commit is not known")
            except (CommitFailedError, DeltaError, OSError) as error:
                problem = error
                if isinstance(problem, OSError) and (self.store.remote or attempt >= FOLDER_ATTEMPTS):
                    break
                time.sleep(min(0.01 * attempt, 0.2) * random.uniform(0.5, 1.5))
        handle = self._refresh() or self._create()
        if (version := self._landed(handle, mark, since, reached)) is not None:
            return version
        self._fence(handle, expected, reached)
        told = None if problem is None else self.store.unreachable(problem)
        raise told or LedgerUnwritable(self.store, one_line(problem)) from problem

    def _try_commit(self, handle: DeltaTable, change: Change, actions: Sequence[AddAction | RemoveAction], mark: str) -> None:
        entry = self._chain.declare(handle, change)
        transactions = [Transaction(source, at) for source, at in change.positions.items()]
        properties = CommitProperties(
            custom_metadata={"commit": mark, "chain": entry.line()},
            app_transactions=[*transactions, Transaction(CHAIN_SOURCE, entry.number)],
        )
        handle.create_write_transaction(
            list(actions), "append", self._delta_schema, self._folders(), commit_properties=properties
        )
        self._commits += 1

    def _landed(self, handle: DeltaTable, mark: str, since: int, reached: Mapping[str, int]) -> int | None:
        """The version that our commit made, None when it is not in the log."""
        if any(handle.transaction_version(source) != position for source, position in reached.items()):
            return None
        entries = handle.history(handle.version() - since + 1)
        return next((int(entry["version"]) for entry in entries if entry.get("commit") == mark), None)
