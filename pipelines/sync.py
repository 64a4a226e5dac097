"""Copies the rated rows of one customer to where the customer wants them (数据同步): in order, restartable, no other row in it.

What has been copied is known by positions: of each source the last row of this customer that was handed over. Rows of a source
become visible in the order of its offsets, so everything after that position is new, whatever landed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ledger.book import Ledger
from ledger.table import parse_source, source_id
from pipelines.workspace import Workspace
from schemas.errors import Refused
from schemas.ledger import POSITION_KEY
from schemas.sync import COPIED, SHARED_ROLES

Reached = Mapping[str, tuple[int, int]]
"""Source -> offset and row of the last row that was copied."""


def require_account(workspace: Workspace, account: str) -> None:
    """Raises Refused when the published roster has no such account."""
    _, roster = workspace.load()
    if account not in roster.accounts["account_id"]:
        raise Refused(f"There is no account '{account}' in the published roster, so there is nothing to copy.")


def rows_after(ledger: Ledger, account: str, reached: Reached) -> pl.DataFrame:
    """COPIED of the account's rows that were not copied yet, by source and position.

    Files are sorted by account, so only those parts that hold its rows are read.
    """
    mine = (pl.col("account_id") == account) & pl.col("role").is_in(SHARED_ROLES)
    rows = ledger.postings.scan().filter(mine).collect().sort(POSITION_KEY)
    stands = pl.DataFrame(
        [(*parse_source(name), *at) for name, at in sorted(reached.items())],
        schema={
            "stream": pl.String,
            "stream_partition": pl.Int32,
            "copied_offset": pl.Int64,
            "copied_row": pl.Int32,
        },
        orient="row",
    )
    placed = rows.join(stands, on=["stream", "stream_partition"], how="left", maintain_order="left")
    offset, row = pl.col("stream_offset"), pl.col("stream_row")
    later = (offset > pl.col("copied_offset")) | ((offset == pl.col("copied_offset")) & (row > pl.col("copied_row")))
    return COPIED.select(placed.filter(pl.col("copied_offset").is_null() | later))


def advance(reached: Reached, rows: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """The positions once these rows of `rows_after`, or the first of them, are copied."""
    last = rows.group_by("stream", "stream_partition", maintain_order=True).agg(
        pl.col("stream_offset").last(), pl.col("stream_row").last()
    )
    moved = {source_id(stream, partition): (offset, row) for stream, partition, offset, row in last.iter_rows()}
    return dict(reached) | moved
