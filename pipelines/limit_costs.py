"""What commitments, caps and pools are held against, read from the ledger: the costs of each line, one usage period a row."""

from __future__ import annotations

import duckdb
import polars as pl

from invoicing.queries import load_query
from pipelines.warehouse import add_table, run_query
from rating.limits.compile import Limits
from rating.limits.frames import COSTS
from schemas.ledger import POSTINGS
from schemas.period import Period

COLUMNS = [
    *("account_id", "subscription_id", "counted_for", "role", "charge", "price_id", "price_version"),
    *("usage_period", "usage_month", "before_quanta", "after_quanta", "amount"),
]
"""Columns of POSTINGS that are looked at."""


def count_postings(connection: duckdb.DuckDBPyConnection, added: pl.DataFrame) -> None:
    """Make the view `limit_postings`: the snapshot's rows and those that the run itself adds."""
    columns = ", ".join(COLUMNS)
    add_table(connection, "limit_added", POSTINGS.select(added).select(COLUMNS))
    both = f"select {columns} from postings union all select {columns} from limit_added"
    connection.execute(f"create or replace view limit_postings as {both}")


def read_costs(connection: duckdb.DuckDBPyConnection, limits: Limits, first: Period, last: Period) -> pl.DataFrame:
    """COSTS of the accounts that have limits, over the months from `first` to `last`.

    Args:
        connection: A warehouse with the view `limit_postings`.
    """
    add_table(connection, "limited_accounts", limits.parties)
    months = {"first_month": str(first), "last_month": str(last)}
    rows = run_query(connection, load_query("limit_costs"), months)
    return COSTS.select(rows.with_columns(pl.col("amount").to_physical().alias("scaled")))


def sum_costs(postings: pl.DataFrame, accounts: pl.DataFrame, limits: Limits, first: Period, last: Period) -> pl.DataFrame:
    """COSTS of POSTINGS that are in no ledger, by the same query."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        add_table(connection, "postings", postings)
        add_table(connection, "accounts", accounts)
        count_postings(connection, POSTINGS.empty())
        return read_costs(connection, limits, first, last)
