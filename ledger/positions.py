"""How far each source has been read, as a writer keeps track of it while others write too, on machines that no lock reaches.

delta-rs looks for a position back through the log, which on a disk costs nothing. Over a network each entry is a question of
its own, so there a position is looked for once, and then followed by reading the commits that have come since.
"""

from __future__ import annotations

from dataclasses import dataclass

from deltalake import DeltaTable

from ledger.chain import Operation, read_commit
from ledger.store import Store

ALONE_SOURCE = "alone/0"
"""Every commit of a lone writer moves this position by one."""

NEVER = -1


class Positions:
    """The positions of one table at the version of the handle that is asked about."""

    def __init__(self, store: Store) -> None:
        self.appended = NEVER
        """The newest version known to have brought rows, or of which it is not known. Compactions bring none."""
        self._store = store
        self._version = NEVER
        self._known: dict[str, int | None] = {}

    def read(self, handle: DeltaTable, source: str) -> int | None:
        """Position of a source at the handle's version; None when nothing of it was read."""
        if not self._store.remote:
            return handle.transaction_version(source)
        self._follow(handle.version())
        if source not in self._known:
            self._known[source] = handle.transaction_version(source)
        return self._known[source]

    def grounds(self, handle: DeltaTable, *, alone: bool) -> Grounds:
        """What counters that are read from this version stand on."""
        return Grounds(alone, self.read(handle, ALONE_SOURCE), handle.version())

    def _follow(self, version: int) -> None:
        """Take over what the commits since have moved; when one is no longer in the log, what was known is forgotten."""
        if version < self._version or self._version == NEVER:
            self._known.clear()
            self._version = self.appended = version
        for number in range(self._version + 1, version + 1):
            commit = read_commit(self._store, number)
            if commit is None or commit.entry is None:
                self._known.clear()
                self.appended = version
                break
            self._known.update(commit.positions)
            if commit.entry.change.operation is Operation.APPEND:
                self.appended = number
        self._version = version


@dataclass
class Grounds:
    """What a writer's counters stand on: the table as it was when they were read.

    In a folder a lock keeps a lone writer (`boss rate FILE`) and others apart. In object storage positions do. A lone writer
    goes on only if nobody else has added rows since, and each of its commits says that a lone writer made it. A worker goes on
    only if no lone writer has committed since the worker read its counters.
    """

    alone: bool
    lone_commits: int | None
    newest: int = 0
    """The version that was read, or that our last commit made; 0 is a table without rows."""

    def expected(self) -> dict[str, int | None]:
        """Positions that must stand where they stood."""
        return {ALONE_SOURCE: self.lone_commits}

    def reached(self) -> dict[str, int]:
        """Positions that the commit moves."""
        return {ALONE_SOURCE: (self.lone_commits or 0) + 1} if self.alone else {}

    def overtaken(self, positions: Positions) -> bool:
        """Whether somebody added rows that a lone writer does not know of."""
        return self.alone and positions.appended > self.newest

    def committed(self, version: int) -> None:
        """A commit of ours made this version."""
        if self.alone:
            self.lone_commits, self.newest = (self.lone_commits or 0) + 1, version
