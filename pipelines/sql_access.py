"""Answers one SELECT over the ledger, the price book and the roster.

Nothing can be changed from here, in three ways at once: only a single SELECT is accepted, it runs in a read-only transaction,
and the connection can open no other file (`pipelines/warehouse.py`). Large answers pass through in batches.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from typing import BinaryIO

import duckdb
import polars as pl
import pyarrow as pa

from pipelines.frame_text import write_frames
from pipelines.warehouse import add_ledger_views, open_warehouse
from pipelines.workspace import Workspace
from schemas.errors import BadQuery

BATCH_ROWS = 50_000


def query_workspace(workspace: Workspace, text: str) -> pl.DataFrame:
    """The whole answer of one SELECT over a workspace. Raises BadQuery, and NothingPublished before the first publishing."""
    book, roster = workspace.load()
    with open_warehouse(workspace.ledger(), book, roster) as connection:
        add_ledger_views(connection)
        return query(connection, text)


def write_query(workspace: Workspace, text: str, format: str, target: BinaryIO) -> None:
    """Write the answer of one SELECT as json, csv or parquet without ever holding all of it. Raises as `query_workspace`."""
    book, roster = workspace.load()
    with open_warehouse(workspace.ledger(), book, roster) as connection:
        add_ledger_views(connection)
        with closing(query_frames(connection, text)) as frames:
            write_frames(frames, format, target)


def query(connection: duckdb.DuckDBPyConnection, text: str) -> pl.DataFrame:
    """The whole answer of one SELECT. Raises BadQuery."""
    return pl.concat(query_frames(connection, text))


def query_frames(connection: duckdb.DuckDBPyConnection, text: str) -> Generator[pl.DataFrame, None, None]:
    """The answer of one SELECT in batches of up to 50,000 rows; at least one, so that the columns are known.

    Raises:
        BadQuery: The text is no single SELECT, or the database refuses it. Nothing was changed.
    """
    try:
        _require_select(connection, text)
        connection.execute("begin transaction read only")
        try:
            relation = connection.sql(text)
            if relation is None:
                raise BadQuery("it has no result.")
            _require_known_types(relation)
            with closing(relation.to_arrow_reader(BATCH_ROWS)) as reader:
                names = _distinct(reader.schema.names)
                yield _frame(reader.schema.empty_table(), names)
                for batch in reader:
                    yield _frame(pa.Table.from_batches([batch]), names)
        finally:
            connection.execute("rollback")
    except duckdb.Error as error:
        raise BadQuery(str(error)) from None


def _require_select(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        raise BadQuery(f"there are {len(statements)} statements in it.")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise BadQuery(f"it is no SELECT but {statements[0].type.name}.")
    # A WITH may hold an INSERT or a COPY and still be called a SELECT; inside a subquery the database refuses that.
    body = re.sub(r";\s*(--[^\n]*\s*)*$", "", text)
    connection.execute(f"explain select 1 from (\n{body}\n) as answer").fetchall()


def _require_known_types(relation: duckdb.DuckDBPyRelation) -> None:
    for name, dtype in zip(relation.columns, relation.types, strict=True):
        if "INTERVAL" in str(dtype):  # has no counterpart in a frame
            raise BadQuery(f"the column {name} is an interval; cast it to varchar.")


def _distinct(names: list[str]) -> list[str]:
    """The names, those that were there before with _2, _3 ... behind them."""
    taken: list[str] = []
    for name in names:
        candidates = chain([name], (f"{name}_{number}" for number in range(2, len(names) + 2)))
        taken.append(next(candidate for candidate in candidates if candidate not in taken))
    return taken


def _frame(table: pa.Table, names: list[str]) -> pl.DataFrame:
    frame = pl.from_arrow(table.rename_columns(names))
    assert isinstance(frame, pl.DataFrame)
    return frame
