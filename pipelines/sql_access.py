"""Answers one SELECT over the ledger, the price book and the roster, and writes the answer for people and for programs.

Nothing can be changed from here, in three ways at once: only a single SELECT is accepted, it runs in a read-only transaction,
and the connection can open no other file (`pipelines/warehouse.py`). Large answers pass through in batches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import BinaryIO

import duckdb
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

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


def write_frame(frame: pl.DataFrame, format: str, target: BinaryIO) -> None:
    """Write a frame as json, csv or parquet; see `write_frames`."""
    write_frames([frame], format, target)


def write_frames(frames: Iterable[pl.DataFrame], format: str, target: BinaryIO) -> None:
    """Write frames of the same columns one after another, as one document.

    json is one array of objects, csv has a header. In both, decimals are strings, exact, without zeros beyond two places;
    days and instants are ISO 8601. parquet keeps the types.

    Raises:
        ValueError: The format is none of the three.
    """
    writers = {"json": _write_json, "csv": _write_csv, "parquet": _write_parquet}
    if format not in writers:
        raise ValueError(f"'{format}' is no format; there are {', '.join(writers)}")
    writers[format](iter(frames), target)


def plain_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with every decimal, day, instant and byte string as text. Integers, booleans, lists and text stay."""
    return frame.with_columns([_as_text(name, dtype) for name, dtype in frame.schema.items()])


def table_rows(frame: pl.DataFrame) -> list[list[str]]:
    """The cells of the frame as people read them, row by row; null is empty."""
    return [["" if cell is None else str(cell) for cell in row] for row in plain_text(frame).iter_rows()]


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


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.Decimal):
        return column.cast(pl.String).str.replace(r"(\.\d\d\d*?)0+$", "$1")
    if isinstance(dtype, pl.Datetime):
        zone = "Z" if dtype.time_zone else ""
        instant = column.dt.convert_time_zone("UTC") if dtype.time_zone else column
        return instant.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    if isinstance(dtype, pl.Binary):
        return column.map_elements(lambda value: value.decode("utf-8", "backslashreplace"), return_dtype=pl.String)
    if dtype.is_numeric() or dtype.is_nested() or isinstance(dtype, pl.Boolean):
        return column
    return column.cast(pl.String)


def _write_json(frames: Iterator[pl.DataFrame], target: BinaryIO) -> None:
    start = b"[\n"
    for frame in frames:
        for row in plain_text(frame).iter_rows(named=True):
            target.write(start + orjson.dumps(row, default=str))
            start = b",\n"
    target.write(b"[]\n" if start == b"[\n" else b"\n]\n")


def _write_csv(frames: Iterator[pl.DataFrame], target: BinaryIO) -> None:
    for number, frame in enumerate(frames):
        flat = plain_text(frame)
        nested = [name for name, dtype in flat.schema.items() if dtype.is_nested()]
        as_json = [pl.Series(name, [_json_text(cell) for cell in flat[name].to_list()], dtype=pl.String) for name in nested]
        target.write(flat.with_columns(as_json).write_csv(include_header=number == 0).encode())


def _json_text(cell: object) -> str | None:
    return None if cell is None else json.dumps(cell, default=str, ensure_ascii=False)


def _write_parquet(frames: Iterator[pl.DataFrame], target: BinaryIO) -> None:
    first = next(frames).to_arrow()
    with pq.ParquetWriter(target, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for frame in frames:
            writer.write_table(frame.to_arrow().cast(first.schema))
