"""Measures a month's revenue: MRR and its five movements, ARPA, and usage revenue and partners' shares beside them.

    roster + book -> FEES -> account_mrr -> MOVEMENTS -> SUMMARY
                     postings of the month's run -> revenue -> SUMMARY

A month whose bill run is not final is only shown. Once it is final its metrics are stored, and from then on they are what is
stored: later changes of the roster change later months.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import duckdb
import polars as pl

from ledger.book import Ledger
from metrics.queries import read_query
from pipelines.billed_rows import load_versions, view_billed_rows
from pipelines.store_once import closing_source, read_period, store_once
from pipelines.warehouse import add_table, open_warehouse, run_query
from pipelines.workspace import Workspace
from rating.recurring import monthly_fees
from rating.terms import compile_terms
from schemas.book import Book
from schemas.errors import BrokenPromise
from schemas.metrics import FEES, MOVEMENTS, SUMMARY
from schemas.period import Period
from schemas.roster import Roster


@dataclass(frozen=True)
class Measured:
    """The metrics of one month."""

    period: Period
    movements: pl.DataFrame  # MOVEMENTS
    summary: pl.DataFrame  # SUMMARY
    final: bool  # stored; otherwise the bill run is not final and the numbers may still change


def measure_revenue(workspace: Workspace, period: Period) -> Measured:
    """The metrics of a month, stored when its bill run is final. Raises as `measure_period` does."""
    ledger = workspace.ledger()
    if (stored := _read_stored(ledger, period)) is not None:
        return stored
    book, roster = load_versions(workspace, ledger, period)
    return measure_period(ledger, book, roster, monthly_fees(compile_terms(book, roster)), period)


def measure_period(ledger: Ledger, book: Book, roster: Roster, fees: pl.DataFrame, period: Period) -> Measured:
    """Compute the metrics of a month from its fees and the rows of its run; store them once if the run is final.

    Args:
        fees: FEES, every stretch ever, not only those of the month.

    Raises:
        BrokenPromise: The summary does not add up or differs from the invoice lines. Nothing is stored.
    """
    if (stored := _read_stored(ledger, period)) is not None:
        return stored
    with open_warehouse(ledger, book, roster) as connection:
        final = view_billed_rows(connection, period)
        movements, summary = query_metrics(connection, FEES.select(fees), period)
    if not final:
        return Measured(period, movements, summary, final=False)
    source = closing_source("metrics", period)
    store_once(ledger.movements, movements, source)
    store_once(ledger.summary, summary, source)
    return _read_stored(ledger, period) or Measured(period, movements, summary, final=True)


def query_metrics(
    connection: duckdb.DuckDBPyConnection, fees: pl.DataFrame, period: Period
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """MOVEMENTS and SUMMARY, checked, on a warehouse connection that has the view `billed`."""
    month = {"period": str(period)}
    days = {"start_day": period.first_day - timedelta(days=1), "end_day": period.next().first_day - timedelta(days=1)}
    add_table(connection, "fees", fees)
    add_table(connection, "account_mrr", read_query("account_mrr"), days)
    movements = MOVEMENTS.select(run_query(connection, read_query("movements"), month))
    add_table(connection, "drafted_movements", movements)
    add_table(connection, "revenue", read_query("revenue"))
    summary = SUMMARY.select(run_query(connection, read_query("summary"), month))
    add_table(connection, "drafted_summary", summary)
    add_table(connection, "billed_lines", read_query("billed_lines"), month)
    wrong = run_query(connection, read_query("check_summary"))
    if not wrong.is_empty():
        currency, rule, left, right = wrong.row(0)
        raise BrokenPromise(f"The metrics of {period} do not add up in {currency}: {rule}, but {left} is not {right}.")
    return movements, summary


def _read_stored(ledger: Ledger, period: Period) -> Measured | None:
    """What was stored for the month; the summary is stored last, so with it everything is there."""
    if ledger.summary.position(closing_source("metrics", period)) is None:
        return None
    movements = read_period(ledger.movements, period).sort("account_id", "currency")
    summary = read_period(ledger.summary, period).sort("currency")
    return Measured(period, movements, summary, final=True)
