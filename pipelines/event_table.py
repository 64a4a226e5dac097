"""Tables of events (Arrow, Parquet, CSV) as the JSON events they stand for.

One row is one event. The envelope stands in columns of its own name, the data in `data.<property>` columns, in a struct column
`data`, or in any other column. Every value becomes a JSON text, so decimals keep their digits.
"""

from __future__ import annotations

import io

import polars as pl

from schemas.events import ENVELOPE
from schemas.usage import PROPERTY, RETRACTS

_ATTRIBUTES = (*ENVELOPE, RETRACTS, "specversion", "datacontenttype", "dataschema")


def arrow_events(value: bytes) -> list[bytes]:
    """The rows of an Arrow IPC stream or file as JSON events.

    Raises:
        ValueError: It cannot be read as Arrow.
    """
    read = pl.read_ipc if value.startswith(b"ARROW1") else pl.read_ipc_stream
    try:
        return json_events(read(io.BytesIO(value)))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ValueError(str(error)) from None


def json_events(table: pl.DataFrame) -> list[bytes]:
    """One JSON event per row. Null is absent; times without a zone stay without one, so that they are refused by name."""
    if isinstance(table.schema.get("data"), pl.Struct):
        table = table.with_columns(pl.col("data").name.prefix_fields(PROPERTY)).unnest("data")
    cells = {name: _as_text(name, dtype) for name, dtype in table.schema.items()}
    own = [cell for name, cell in cells.items() if name in _ATTRIBUTES]
    data = [cell.alias(name.removeprefix(PROPERTY)) for name, cell in cells.items() if name not in _ATTRIBUTES]
    event = pl.struct(*own, pl.struct(data).alias("data")) if data else pl.struct(own)
    return [text.encode() for text in table.select(event.struct.json_encode()).to_series()]


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.f")
        return column.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    if isinstance(dtype, pl.Struct):
        return column.struct.json_encode()
    if isinstance(dtype, pl.Binary):
        return column.cast(pl.String, strict=False)
    return column.cast(pl.String)
