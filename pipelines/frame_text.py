"""Frames as people and programs read them: the cells of a table, JSON, CSV, Parquet. Large answers pass through in batches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import orjson
import polars as pl
import pyarrow.parquet as pq


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
