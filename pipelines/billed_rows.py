"""Which rows of the ledger a month's bill run covers, so that statements and metrics speak of what the invoices speak of."""

from __future__ import annotations

import duckdb

from pipelines.bill_stages import prepare_cut, read_reached
from pipelines.warehouse import add_table, run_query
from schemas.billing import POSITIONS
from schemas.ledger import POSTINGS
from schemas.period import Period
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
    reached = POSITIONS.select(positions) if final else read_reached(connection)
    prepare_cut(connection, period, POSTINGS.empty(), reached)
    failed = run_query(connection, "select account_id from outcomes where period = $period and outcome = 'failed'", params)
    add_table(connection, "failed_accounts", failed if final else failed.clear())
    connection.execute(f"create or replace view billed as {read_query('billed')}")
    return final
