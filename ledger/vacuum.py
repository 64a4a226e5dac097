"""Deleting files that the ledger does not need any more: what no commit names, and what compactions replaced long ago.

Replaced files prove that a compaction kept every row. So they stay for as long as somebody may ask (the audit window), each
compaction is proven once more before its files go, and the chain records which went.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
from deltalake import DeltaTable

from ledger.chain import Entry
from ledger.delta import describe_files
from ledger.history import History
from ledger.store import Store, Stored, asks_the_store
from ledger.table import LedgerTable
from ledger.verify import check_file, files_of, pinned_history, prove_compactions, was_vacuumed
from schemas.errors import BrokenPromise, LedgerUnwritable, Refused
from schemas.frames import FrameSchema

AUDIT_DAYS = 3650
"""The audit window: how long replaced files are kept unless somebody insists."""

ORPHAN_DAYS = 1
"""A file that no commit names may belong to a commit that is being made; after this long it does not."""

REMOVALS = FrameSchema("REMOVALS", {"table": pl.String, "file": pl.String, "why": pl.String, "bytes": pl.Int64})
"""One row per file that is, or would be, deleted. `why` is `orphan` (no commit names it) or `replaced` (by a compaction)."""


@asks_the_store
def vacuum(
    table: LedgerTable, keep_days: int = AUDIT_DAYS, *, delete: bool = False, below_audit_window: bool = False
) -> pl.DataFrame:
    """REMOVALS of one table, in order. Deletes only when told to; appends and readers may go on.

    Args:
        keep_days: Days that a replaced file is kept, counted from its compaction.
        below_audit_window: Must be said for fewer days than the audit window.

    Raises:
        Refused: Fewer days than the audit window, and nobody said so; or no day at all.
        BrokenPromise: The ledger is not what was committed, so nothing is deleted. `verify` says more.
        LedgerUnwritable: A file cannot be deleted. The chain names it; the next vacuum deletes it.
    """
    if keep_days < 1:
        raise Refused("Replaced files are kept for a day at least: somebody may be reading them.")
    if keep_days < AUDIT_DAYS and not below_audit_window:
        raise Refused(
            f"Replaced files are kept for {AUDIT_DAYS} days, the audit window: they prove that compactions kept every row. "
            f"To delete them after {keep_days} days add --below-audit-window."
        )
    pinned = table.pin()
    if pinned is None:
        return REMOVALS.empty()
    history, _ = pinned_history(table, pinned)
    if history.findings:
        raise BrokenPromise(f"The chain of {table.store} is damaged, so nothing is deleted. Run `boss ledger verify`.")
    compactions = _due_compactions(history, datetime.now(UTC) - timedelta(days=keep_days))
    replaced = [name for entry in compactions for name in entry.change.removed]
    stored = {file.name: file for file in table.store.files() if _is_data(file.name)}
    orphans = list(_orphans(table, pinned, history, stored.values()))
    found = [
        {"table": table.store.name, "file": name, "why": why, "bytes": stored[name].bytes if name in stored else 0}
        for why, names in (("orphan", orphans), ("replaced", replaced))
        for name in names
    ]
    if delete:
        if replaced:
            _prove(table, history, compactions)
            table.record_vacuum(replaced)
        _delete(table.store, [*orphans, *replaced])
    return REMOVALS.build(found).sort("why", "file")


def _due_compactions(history: History, before: datetime) -> list[Entry]:
    """Compactions that were made before this moment and whose old files are still kept."""
    made = [entry for entry in history.compactions if datetime.fromisoformat(entry.at) < before]
    return [entry for entry in made if not set(entry.change.removed) <= history.deleted]


def _orphans(table: LedgerTable, pinned: DeltaTable, history: History, stored: Iterable[Stored]) -> Iterator[str]:
    """Data files that neither the chain nor the table names, and those that a vacuum was about to delete when it died."""
    named = {*(history.seals.keys() - history.deleted), *describe_files(pinned, table.partition_by)["path"]}
    latest = time.time() - ORPHAN_DAYS * 86_400
    for file in stored:
        if file.name not in named and (file.put_at < latest or file.name in history.deleted):
            yield file.name


def _is_data(name: str) -> bool:
    """Data files, and what a compaction that died has spilled."""
    return name.endswith(".parquet") and not name.startswith("_delta_log/")


def _prove(table: LedgerTable, history: History, compactions: list[Entry]) -> None:
    """The last look at files before they go: they are what was committed, and what replaced them holds their rows."""
    open_to_proof = [entry for entry in compactions if not was_vacuumed(entry, history)]
    names = {name for entry in open_to_proof for name in files_of(entry)}
    findings = [finding for name in sorted(names) for finding in check_file(table.store, history.seals[name])]
    findings += prove_compactions(table, history, open_to_proof, lambda _: None)
    if findings:
        first = findings[0]
        raise BrokenPromise(f"{table.store}/{first.file}: {first.what}. Nothing was deleted. Run `boss ledger verify`.")


def _delete(store: Store, names: list[str]) -> None:
    for name in names:
        try:
            store.delete(name)
        except OSError as error:
            raise LedgerUnwritable(store, str(error)) from error
