"""Stores what a month ended as, once: whoever comes second finds it stored and changes nothing."""

from __future__ import annotations

import polars as pl

from ledger.table import LedgerTable, source_id
from schemas.errors import Fenced
from schemas.frames import FrameSchema
from schemas.period import Period

STORED = 1
"""Position of the source once its rows are in the table."""


def closing_source(what: str, period: Period) -> str:
    """The source under which a month's closing rows are stored, for example 'settle:2026-10/0'."""
    return source_id(f"{what}:{period}", 0)


def store_once(table: LedgerTable, rows: pl.DataFrame, source: str) -> None:
    """Append the rows unless an earlier attempt or another process has stored them; then nothing changes."""
    if table.position(source) is not None:
        return
    try:
        table.append(rows, expected={source: None}, reached={source: STORED})
    except Fenced:
        if table.position(source) is None:
            raise


def read_period(table: LedgerTable, period: Period) -> pl.DataFrame:
    """The table's rows of one `period`, in no order."""
    schema: FrameSchema = table.schema
    return schema.select(table.scan().filter(pl.col("period") == str(period)).collect())
