"""Opens and creates the Delta table of a store."""

from __future__ import annotations

from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import DeltaError

from ledger.delta import SETTINGS, one_line
from ledger.store import Store
from schemas.errors import BrokenPromise, LedgerUnwritable, Refused


def open_table(store: Store, schema: Schema, name: str) -> DeltaTable | None:
    """The newest version; None when there is no table yet.

    Args:
        name: Of the schema, for people.

    Raises:
        BrokenPromise: The log cannot be read, or the table has other columns.
        LedgerUnreachable: The store refuses or does not answer.
    """
    options = _options(store)
    try:
        if not DeltaTable.is_deltatable(store.location, options):
            return None
        handle = DeltaTable(store.location, storage_options=options)
    except (DeltaError, OSError) as error:
        told = store.unreachable(error) or BrokenPromise(f"The log of {store} cannot be read: {one_line(error)}")
        raise told from error
    if handle.schema() != schema:
        raise BrokenPromise(f"{store} holds other columns than {name} of this version of BOSS")
    return handle


def open_version(store: Store, version: int) -> DeltaTable:
    """An older version. Raises Refused when it cannot be opened any more, and LedgerUnreachable."""
    try:
        return DeltaTable(store.location, version=version, storage_options=_options(store))
    except (DeltaError, OSError) as error:
        raise store.unreachable(error) or Refused(
            f"Version {version} of {store} cannot be opened: it does not exist or is no longer kept. Use the newest."
        ) from error


def create_table(store: Store, schema: Schema, partition_by: list[str] | None) -> None:
    """Create the table unless it is there. Raises LedgerUnwritable, or what delta-rs raises, also when another was quicker.

    Tried once only: delta-rs would write it again as a second commit, after that of another writer who creates it too.
    """
    if set(store.location) & {"%", "\\"}:
        raise LedgerUnwritable(store, "delta-rs loses its way in folders with % or \\ in their names")
    store.prepare()
    DeltaTable.create(
        store.location,
        schema,
        mode="ignore",
        partition_by=partition_by,
        configuration=SETTINGS,
        storage_options=_options(store),
        commit_properties=CommitProperties(max_commit_retries=0),
    )


def _options(store: Store) -> dict[str, str] | None:
    return None if store.options is None else dict(store.options)
