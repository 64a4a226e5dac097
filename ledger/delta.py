"""How a frame becomes Delta: column types, sorted Parquet files, and the lines of the log that name them."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO

import polars as pl
from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction

from ledger.chain import Seal
from ledger.store import Store
from schemas.errors import BrokenPromise, LedgerUnreachable, LedgerUnwritable
from schemas.frames import INSTANT, FrameSchema

ROW_GROUP_ROWS = 250_000

SETTINGS = {
    # Commits get slower with every file in the log, so the log is folded into a checkpoint often and cleaned soon after.
    # A setting for the retention of positions must never be added: positions have to outlive everything.
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 10 minutes",
    "delta.enableExpiredLogCleanup": "true",
}

DESCRIBED = pl.Schema({"path": pl.String, "folder": pl.String, "rows": pl.Int64, "bytes": pl.Int64})
"""What `describe_files` says of a file."""

_TYPES: dict[pl.DataType | type[pl.DataType], str] = {
    pl.String: "string",
    pl.Binary: "binary",
    pl.Boolean: "boolean",
    pl.Date: "date",
    INSTANT: "timestamp",
    pl.Int8: "byte",
    pl.Int16: "short",
    pl.Int32: "integer",
    pl.Int64: "long",
}


def delta_schema(schema: FrameSchema) -> Schema:
    """The same columns as Delta types. Raises BrokenPromise for a type that Delta does not know."""
    return Schema([Field(name, PrimitiveType(_delta_type(name, dtype))) for name, dtype in schema.columns.items()])


def _delta_type(name: str, dtype: pl.DataType | type[pl.DataType]) -> str:
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision},{dtype.scale})"
    if dtype not in _TYPES:
        raise BrokenPromise(f"column {name} has the type {dtype}, which a ledger table cannot hold")
    return _TYPES[dtype]


def one_line(error: Exception | None) -> str:
    """The error's text without colours and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|↳", "", str(error)).split())


@dataclass(frozen=True)
class DataFile:
    """A file on disk that no commit names yet: what the Delta log will say of it, and what the chain will."""

    action: AddAction
    seal: Seal


def write_files(
    store: Store, rows: pl.DataFrame, partition_by: str | None, sort_by: Sequence[str], *, data_change: bool = True
) -> list[DataFile]:
    """Write the rows as sorted zstd Parquet, one new file per partition value, each safely on disk.

    The files belong to no table until a commit names them. The partition column is kept inside the files too, so that
    they can be read without the table.

    Args:
        data_change: False when the rows are in the table already, in other files.

    Raises:
        BrokenPromise: A row has no partition value.
        LedgerUnwritable: The files cannot be written. Those already begun are removed, if that can be done.
    """
    if rows.is_empty():
        return []
    ordered = _ordered(rows, sort_by) if sort_by else rows
    if partition_by is None:
        parts: dict[str | None, pl.DataFrame] = {None: ordered}
    else:
        if rows[partition_by].null_count():
            raise BrokenPromise(f"a row for {store} has no {partition_by}")
        values = ordered[partition_by].unique()
        # most often there is one value only, and its rows need not be copied
        split = {(values[0],): ordered} if len(values) == 1 else ordered.partition_by(partition_by, as_dict=True)
        parts = {str(key[0]): part for key, part in split.items()}
    written: list[str] = []
    files: list[DataFile] = []
    try:
        for value, part in parts.items():
            name = f"part-{uuid.uuid4().hex}.parquet"
            written.append(name if value is None else f"{partition_by}={value}/{name}")
            data = BytesIO()
            part.write_parquet(
                data,
                compression="zstd",
                compression_level=1,
                row_group_size=ROW_GROUP_ROWS,
                statistics=not data_change,  # rows as they come are of all accounts: nobody could skip a group of them
            )
            seal = Seal(written[-1], sha256(data.getbuffer()).hexdigest(), part.height, data.getbuffer().nbytes)
            store.put(seal.path, data.getbuffer())
            statistics = _statistics(part, [column for column in sort_by if column != partition_by])
            action = AddAction(
                path=seal.path,
                size=seal.bytes,
                partition_values={} if partition_by is None else {partition_by: value},
                modification_time=int(time.time() * 1000),
                data_change=data_change,
                stats=json.dumps(statistics),
            )
            files.append(DataFile(action, seal))
    except LedgerUnreachable:
        raise  # nor could it be asked to remove them
    except (OSError, pl.exceptions.ComputeError) as error:
        for name in written:
            with suppress(OSError):
                store.delete(name)
        raise LedgerUnwritable(store, one_line(error)) from error
    return files


def _ordered(rows: pl.DataFrame, sort_by: Sequence[str]) -> pl.DataFrame:
    """The rows by these columns, equal ones in the order in which they came.

    Only one row of each group is compared: most often an account has many in a row, and comparing text is what costs.
    """
    groups = rows.select(sort_by).with_row_index("row").group_by(sort_by).agg("row").sort(sort_by, nulls_last=False)
    return rows[groups["row"].explode(empty_as_null=False)]


def describe_files(handle: DeltaTable, partition_by: str | None) -> pl.DataFrame:
    """The files of the handle's version: `path` within the table's folder, `folder` value, `rows` and `bytes`."""
    files = pl.DataFrame(handle.get_add_actions(flatten=True))
    value = pl.lit(None, pl.String) if partition_by is None else pl.col(f"partition.{partition_by}")
    return files.select(path="path", folder=value, rows="num_records", bytes="size_bytes").cast(DESCRIBED).sort("path")


def _statistics(rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, object]:
    """What Delta readers skip files by: rows in the file, and smallest and largest value of the sort columns."""
    if not columns:
        return {"numRecords": rows.height}
    least = rows.select(pl.col(columns).min()).row(0, named=True)
    most = rows.select(pl.col(columns).max()).row(0, named=True)
    return {
        "numRecords": rows.height,
        "minValues": {name: value for name, value in least.items() if value is not None},
        "maxValues": {name: value for name, value in most.items() if value is not None},
        "nullCount": {name: rows[name].null_count() for name in columns},
    }
