"""Which rows of the ledger a month's bill run covers, so that statements and metrics speak of what the invoices speak of."""

from __future__ import annotations

import duckdb
import polars as pl

from catalog.versions import load_book, load_roster
from ledger.book import Ledger
from pipelines.bill_stages import prepare_cut, read_reached
from pipelines.warehouse import add_table, run_query
from pipelines.workspace import Workspace
from schemas.billing import POSITIONS
from schemas.book import Book
from schemas.ledger import POSTINGS
from schemas.period import Period
from schemas.roster import Roster
from settlement.queries import read_query


def view_billed_rows(connection: duckdb.DuckDBPyConnection, period: Period) -> bool:
    """Make the view `billed` (settlement/sql/billed.sql) of the run for `period`; returns whether that run is final.

    Of a final run these are the rows it billed, whatever has landed since. While it is not final they are the rows of the
    newest snapshot that it would bill now, without the recurring fees that it has yet to post.
    """
    params = {"period": str(period)}
    positions = run_query(
        connection, "select stream, stream_partition, through_offset from runs where period = $period", params
    )
    final = not positions.is_empty()
    reached = POSITIONS.select(positions) if final else read_reached(connection, period)
    prepare_cut(connection, period, POSTINGS.empty(), reached)
    failed = run_query(connection, "select account_id from outcomes where period = $period and outcome = 'failed'", params)
    add_table(connection, "failed_accounts", failed if final else failed.clear())
    connection.execute(f"create or replace view billed as {read_query('billed')}")
    return final


def load_versions(workspace: Workspace, ledger: Ledger, period: Period) -> tuple[Book, Roster]:
    """The book and roster that the final run of the period used, so that what is made of it later is the same.

    While the run is not final: the newest published ones. Raises NothingPublished.
    """
    run = ledger.runs.scan().filter(pl.col("period") == str(period)).select("book_version", "roster_version").collect()
    if run.is_empty():
        return workspace.load()
    book_version, roster_version = run.row(0)
    return load_book(workspace.books, book_version), load_roster(workspace.rosters, roster_version)
