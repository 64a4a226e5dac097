"""Small tables to keep, to read and to damage."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ledger.book import open_ledger
from ledger.table import LedgerTable, source_id
from schemas.ledger import POSTINGS

KAFKA = source_id("kafka:usage@1", 0)


def postings(first: int, count: int, month: str = "2026-10", partition: int = 0) -> pl.DataFrame:
    """`count` rows from offset `first` on, over seven accounts."""
    rows: list[dict[str, object]] = [
        {
            "stream": "kafka:usage@1",
            "stream_partition": partition,
            "stream_offset": offset,
            "stream_row": 0,
            "account_id": f"account-{offset % 7}",
            "quantity_quanta": offset,
            "usage_month": month,
        }
        for offset in range(first, first + count)
    ]
    return POSTINGS.build(rows)


def fill(table: LedgerTable, first: int, count: int, month: str = "2026-10", partition: int = 0) -> None:
    """One commit with `count` rows of one source from offset `first` on."""
    source = source_id("kafka:usage@1", partition)
    before = first - 1 if first else None
    table.append(postings(first, count, month, partition), expected={source: before}, reached={source: first + count - 1})


def filled(folder: Path, commits: int = 5) -> LedgerTable:
    """Postings with so many commits of 20 rows."""
    table = open_ledger(folder).postings
    for first in range(0, 20 * commits, 20):
        fill(table, first, 20)
    return table


def change_byte(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
