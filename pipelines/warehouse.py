"""The ledger and the published book and roster as SQL tables, for one snapshot and one connection.

Every table of the ledger is a view over the list of Parquet files of its snapshot, so what lands later is not seen. The
frames of the book and the roster are tables of the same names; negotiated prices stand in `prices` and `tiers` beside the
list prices. `currencies` says how many decimals a currency's minor unit has, as digits, factor and unit (2, 100, 0.01).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache

import duckdb
import polars as pl
from babel.numbers import list_currencies

import ledger.queries as ledger_views
from ledger.book import Ledger
from schemas.billing import MONEY
from schemas.book import BOOK_FRAMES, Book
from schemas.errors import BrokenPromise
from schemas.frames import AMOUNT, INSTANT, FrameSchema
from schemas.money import minor_unit_digits
from schemas.roster import ROSTER_FRAMES, Roster

MEMORY_LIMIT = "4GB"
"""What one connection may hold; beyond it DuckDB spills to the temporary folder."""

_SQL_TYPES = {
    "String": "varchar",
    "Binary": "blob",
    "Boolean": "boolean",
    "Date": "date",
    "Int8": "tinyint",
    "Int16": "smallint",
    "Int32": "integer",
    "Int64": "bigint",
    str(INSTANT): "timestamp with time zone",
    str(AMOUNT): "decimal(38, 18)",
    str(MONEY): "decimal(38, 4)",
}
"""Type of a ledger column -> its SQL type."""


def open_warehouse(
    ledger: Ledger, book: Book, roster: Roster, *, version: int | None = None, memory_limit: str = MEMORY_LIMIT
) -> duckdb.DuckDBPyConnection:
    """A connection that sees one snapshot and nothing else: no other file, no network, no changed setting.

    Args:
        version: Delta version of `postings` to read; None is the newest. Other tables are read as they are now.
    """
    tables = ledger.tables()
    spill_folder = str(ledger.postings.path.parent / ".spill")  # made by DuckDB when it needs one; nobody else's to write
    connection = duckdb.connect(":memory:", config={"memory_limit": memory_limit, "temp_directory": spill_folder})
    connection.execute("set timezone = 'UTC'")
    connection.execute("set preserve_insertion_order = false")
    for name, table in tables.items():
        files = table.files(version if name == "postings" else None)
        _view_files(connection, name, table.schema, files)
    for name, frame in _reference_frames(book, roster).items():
        add_table(connection, name, frame)
    _close_doors(connection, [str(table.path) for table in tables.values()])
    return connection


def run_query(connection: duckdb.DuckDBPyConnection, text: str, params: Mapping[str, object] | None = None) -> pl.DataFrame:
    """The rows of one SELECT. `params` are the `$named` parameters of the text: all of them and no others."""
    relation = connection.sql(text, params=dict(params)) if params else connection.sql(text)
    if relation is None:
        raise BrokenPromise(f"A query without rows was asked for rows: {text[:80]}")
    rows: pl.DataFrame = relation.pl()
    return rows


def add_table(
    connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame | str, params: Mapping[str, object] | None = None
) -> None:
    """Keep a frame, or the result of a SELECT, as the table `name` of this connection; replaces one of that name."""
    if isinstance(rows, str):
        connection.execute(f'create or replace table "{name}" as {rows}', dict(params) if params else None)
        return
    connection.register("incoming_frame", rows)
    connection.execute(f'create or replace table "{name}" as select * from incoming_frame')
    connection.unregister("incoming_frame")


def add_ledger_views(connection: duckdb.DuckDBPyConnection) -> None:
    """The views that analysts read beside the tables: `posted_units`, `journal` and `margin` (ledger/sql/)."""
    for name in ledger_views.names():
        connection.execute(f'create view "{name}" as {ledger_views.text(name)}')


def _view_files(connection: duckdb.DuckDBPyConnection, name: str, schema: FrameSchema, files: list[str]) -> None:
    """A view with exactly the columns and types of the table's schema. Without files it is an empty table."""
    if not files:
        add_table(connection, name, schema.empty())
        return
    chosen = ", ".join(
        f'cast("{column}" as {_SQL_TYPES[str(dtype)]}) as "{column}"' for column, dtype in schema.columns.items()
    )
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    connection.execute(
        f'create view "{name}" as select {chosen} '
        f"from read_parquet([{listed}], hive_partitioning = true, hive_types_autocast = false)"
    )


def _reference_frames(book: Book, roster: Roster) -> dict[str, pl.DataFrame]:
    frames: dict[str, pl.DataFrame] = {name: getattr(book, name) for name in BOOK_FRAMES}
    for name in ROSTER_FRAMES:
        frame: pl.DataFrame = getattr(roster, name)
        frames[name] = pl.concat([frames[name], frame]) if name in frames else frame
    frames["currencies"] = _currencies()
    return frames


@cache
def _currencies() -> pl.DataFrame:
    """One row per ISO 4217 currency, so that SQL can round by joining: amount x factor, to a whole number, x unit."""
    codes = sorted(list_currencies())
    digits = [minor_unit_digits(code) for code in codes]
    return pl.DataFrame(
        {
            "currency": codes,
            "digits": digits,
            "factor": [Decimal(10**places) for places in digits],
            "unit": [Decimal(1).scaleb(-places) for places in digits],
        },
        schema={"currency": pl.String, "digits": pl.Int32, "factor": pl.Decimal(5, 0), "unit": pl.Decimal(5, 4)},
    )


def _close_doors(connection: duckdb.DuckDBPyConnection, folders: list[str]) -> None:
    """From here on only the ledger's own folders can be read, and no statement can open more."""
    allowed = ", ".join("'" + folder.replace("'", "''") + "'" for folder in folders)
    connection.execute(f"set allowed_directories = [{allowed}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
