"""Numbers that must agree, compared: `boss ledger check`.

Every comparison is a query that returns both numbers, per currency or as a count. The bill run makes its own checks before it
writes; these can be run by anybody at any time, over everything that is final.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb
import polars as pl

import invoicing.queries
import ledger.maintain
import ledger.queries
import ledger.vacuum
import ledger.verify
import settlement.queries
from pipelines.bill_run import final_periods
from pipelines.bill_stages import prepare_cut, read_reached
from pipelines.billed_rows import view_billed_rows
from pipelines.warehouse import add_ledger_views, open_warehouse, run_query
from pipelines.workspace import Workspace
from schemas.frames import AMOUNT, FrameSchema
from schemas.ledger import POSTINGS
from schemas.period import Period

CHECKED = FrameSchema(
    "CHECKED",
    {
        "check": pl.String,
        "period": pl.String,  # null: the whole ledger
        "currency": pl.String,  # null: a count
        "left": AMOUNT,
        "right": AMOUNT,
        "agrees": pl.Boolean,
    },
)
"""One row per comparison, currency and period."""

COMPACTED = FrameSchema("COMPACTED", {"table": pl.String, "month": pl.String, "files": pl.Int64})
"""One row per table and month (null: the table has none) of which files were replaced by fewer."""

AUDIT_DAYS = ledger.vacuum.AUDIT_DAYS

LEDGER_COMPARISONS = {
    "journal: debits = credits": "compare_debits_credits",
    "postings: rows = distinct positions": "compare_positions",
    "usage: rows = distinct events, prices and roles": "compare_events",
    "aggregates: sum of steps = last state": "compare_aggregates",
    "balances: rows = numbers without a gap": "compare_balance_rows",
    "balances: taken by usage = charged for it": "compare_balances",
}
"""What is compared -> its query in ledger/sql/checks/."""

PAYMENT_COMPARISONS = {
    "balances: taken by usage = taken off by runs + still to be billed": "compare_taken_billed",
    "balances: taken off by runs, rounded = paid on invoices": "compare_taken_paid",
}
"""The same over all final runs, in invoicing/sql/checks/."""

PERIOD_COMPARISONS = {
    "ledger = invoice lines, exact": "compare_ledger_lines",
    "invoice lines = invoices, net": "compare_lines_invoices",
    "invoice lines = invoices, tax": "compare_taxes_invoices",
    "balances: taken by usage = taken off by the run, exact": "compare_ledger_taken",
    "invoices: total = paid + due": "compare_paid_due",
}
"""The same of one final period, over the rows its run billed."""

AFTER_ALL = Period(9999, 12)
"""A run of this period would bill everything that no run has billed."""


def run_checks(workspace: Workspace) -> pl.DataFrame:
    """CHECKED over the whole ledger and every final period, in order."""
    opened = workspace.ledger()
    book, roster = workspace.load()
    results = []
    with open_warehouse(opened, book, roster) as connection:
        add_ledger_views(connection)
        for name, query in LEDGER_COMPARISONS.items():
            results.append(_compare(connection, name, None, ledger.queries.check_text(query)))
        prepare_cut(connection, AFTER_ALL, POSTINGS.empty(), read_reached(connection, AFTER_ALL), whole=True)
        for name, query in PAYMENT_COMPARISONS.items():
            results.append(_compare(connection, name, None, invoicing.queries.load_check(query)))
        for period in final_periods(opened):
            view_billed_rows(connection, period)
            results += _compare_period(connection, period)
    return pl.concat(results)


def _compare_period(connection: duckdb.DuckDBPyConnection, period: Period) -> list[pl.DataFrame]:
    """The comparisons of one final period, over the rows its run billed."""
    load = invoicing.queries.load_check
    compared = [_compare(connection, name, period, load(query)) for name, query in PERIOD_COMPARISONS.items()]
    shares = settlement.queries.read_query("compare_shares")
    return [*compared, _compare(connection, "ledger shares = statements, exact", period, shares)]


def _compare(connection: duckdb.DuckDBPyConnection, check: str, period: Period | None, text: str) -> pl.DataFrame:
    rows = run_query(connection, text, {"period": str(period)} if period else None)
    return CHECKED.select(
        rows.with_columns(
            pl.lit(check).alias("check"),
            pl.lit(str(period) if period else None, pl.String).alias("period"),
            (pl.col("left") == pl.col("right")).alias("agrees"),
        )
    )


def ledger_stats(workspace: Workspace) -> pl.DataFrame:
    """Rows, files and bytes of the postings, one row per usage month."""
    return ledger.maintain.stats(workspace.ledger().postings)


def compact_month(workspace: Workspace, period: Period) -> pl.DataFrame:
    """COMPACTED of a month's postings, rewritten as few sorted files."""
    return _compacted([("postings", str(period), ledger.maintain.compact(workspace.ledger().postings, str(period)))])


def compact_ledger(workspace: Workspace, progress: Callable[[str], None]) -> pl.DataFrame:
    """COMPACTED of what is worth it: closed months as a whole, once; small files of all else, as soon as there are many.

    Raises what `ledger.maintain.compact` raises; what was compacted before stays so.
    """
    opened = workspace.ledger()
    final = final_periods(opened)
    done = []
    for name, table in opened.tables().items():
        for month in ledger.maintain.stats(table)["month"]:
            progress(f"{name} {month or ''}".strip())
            closed = month is not None and bool(final) and Period.parse(month) <= final[-1]
            whole = closed and not ledger.maintain.is_sorted(table, month)
            rewrite = ledger.maintain.compact if whole else ledger.maintain.join_small
            done.append((name, month, rewrite(table, month)))
    return _compacted(done)


def _compacted(done: Sequence[tuple[str, str | None, int]]) -> pl.DataFrame:
    rows: list[dict[str, object]] = [{"table": table, "month": month, "files": files} for table, month, files in done if files]
    return COMPACTED.build(rows)


def verify_ledger(workspace: Workspace, noted: Sequence[str], progress: Callable[[str], None]) -> ledger.verify.Verified:
    """Every table against its chain, and every noted head; gives what was found and where the chains stand now."""
    return ledger.verify.verify_ledger(workspace.ledger(), noted, progress)


def vacuum_ledger(workspace: Workspace, keep_days: int, *, delete: bool, below_audit_window: bool) -> pl.DataFrame:
    """REMOVALS of every table: files that are deleted, or would be."""
    tables = workspace.ledger().tables().values()
    removals = [
        ledger.vacuum.vacuum(table, keep_days, delete=delete, below_audit_window=below_audit_window) for table in tables
    ]
    return pl.concat(removals)
