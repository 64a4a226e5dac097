"""Settles a month with the partners: what each is due of the rows the month's final bill run billed; stored once, then written.

    postings + runs -> shares -> STATEMENT_LINES -> STATEMENTS -> ledger -> one CSV and one JSON file per partner

The rows are those of the run (its positions), so a statement and the invoices speak of the same usage, whatever has arrived
since. Usage that came too late for its own month is on its own line, marked late.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import duckdb
import orjson
import polars as pl
import polars.selectors as cs

from ledger.book import Ledger
from pipelines.billed_rows import load_versions, view_billed_rows
from pipelines.store_once import closing_source, read_period, store_once
from pipelines.warehouse import add_table, open_warehouse, run_query
from pipelines.workspace import Workspace
from schemas.billing import STATEMENT_LINES, STATEMENTS
from schemas.book import Book
from schemas.errors import BrokenPromise, PeriodOpen
from schemas.money import minor_unit_digits
from schemas.period import Period
from schemas.roster import Roster
from settlement.queries import read_query


@dataclass(frozen=True)
class Settlement:
    """The statements of one period."""

    period: Period
    statements: pl.DataFrame  # STATEMENTS
    lines: pl.DataFrame  # STATEMENT_LINES
    files: list[Path]  # a CSV and a JSON file per partner
    stored_before: bool  # this period had been settled already: nothing new was stored


def settle(workspace: Workspace, period: Period) -> Settlement:
    """Store the statements of a period and write them to the workspace's statements folder. Raises as `settle_period` does."""
    ledger = workspace.ledger()
    book, roster = load_versions(workspace, ledger, period)
    return settle_period(ledger, book, roster, period, workspace.statements_folder)


def settle_period(ledger: Ledger, book: Book, roster: Roster, period: Period, folder: Path) -> Settlement:
    """Store the statements of a period and write them as files; the second time only the files are written again.

    Args:
        folder: Files go to `<folder>/<period>/`, named by partner.

    Raises:
        PeriodOpen: The bill run of the period is not final. Nothing is stored or written.
        BrokenPromise: The statements disagree with the ledger or an agreement. Nothing is stored or written.
    """
    source = closing_source("settle", period)
    stored_before = ledger.statements.position(source) is not None
    if not stored_before:
        lines, statements = draft_statements(ledger, book, roster, period)
        store_once(ledger.statement_lines, lines, source)
        store_once(ledger.statements, statements, source)
    lines = read_period(ledger.statement_lines, period).sort("partner_id", "line")
    statements = read_period(ledger.statements, period).sort("partner_id", "currency")
    files = write_statements(statements, lines, folder / str(period))
    return Settlement(period, statements, lines, files, stored_before)


def draft_statements(ledger: Ledger, book: Book, roster: Roster, period: Period) -> tuple[pl.DataFrame, pl.DataFrame]:
    """STATEMENT_LINES and STATEMENTS of a finalised period, checked. Writes nothing. Raises as `settle_period` does."""
    with open_warehouse(ledger, book, roster) as connection:
        if not view_billed_rows(connection, period):
            raise PeriodOpen(period)
        lines, statements = _query_statements(connection, period)
        _refuse_rows("check_ledger", run_query(connection, read_query("check_ledger")))
        _refuse_rows("check_percent", run_query(connection, read_query("check_percent"), {"period": str(period)}))
    return lines, statements


def write_statements(statements: pl.DataFrame, lines: pl.DataFrame, folder: Path) -> list[Path]:
    """One CSV and one JSON file per partner; decimals are strings. A file is there whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for partner in statements.get_column("partner_id").unique(maintain_order=True):
        own = _printed(lines.filter(pl.col("partner_id") == partner))
        totals = _printed(statements.filter(pl.col("partner_id") == partner))
        document = {
            "period": totals["period"][0],
            "partner_id": partner,
            "partner_name": totals["partner_name"][0],
            "totals": totals.drop("period", "partner_id", "partner_name").to_dicts(),
            "lines": own.drop("period", "partner_id").to_dicts(),
        }
        stem = _file_stem(partner)
        files.append(_write(folder / f"{stem}.csv", own.write_csv().encode()))
        files.append(_write(folder / f"{stem}.json", orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"))
    return files


def _query_statements(connection: duckdb.DuckDBPyConnection, period: Period) -> tuple[pl.DataFrame, pl.DataFrame]:
    params = {"period": str(period)}
    add_table(connection, "shares", read_query("shares"))
    lines = STATEMENT_LINES.select(run_query(connection, read_query("statement_lines"), params))
    add_table(connection, "drafted_lines", lines)
    return lines, STATEMENTS.select(run_query(connection, read_query("statements")))


def _refuse_rows(check: str, wrong: pl.DataFrame) -> None:
    if wrong.is_empty():
        return
    first = ", ".join(f"{name} {value}" for name, value in wrong.row(0, named=True).items())
    raise BrokenPromise(f"settlement {check} found {wrong.height} wrong row(s), the first: {first}. Nothing was stored.")


def _printed(frame: pl.DataFrame) -> pl.DataFrame:
    """Rounded money with the decimals of its currency, exact amounts without trailing zeros, dates as ISO text."""
    digits = {code: minor_unit_digits(code) for code in frame["currency"].unique()}
    text = pl.col("share_amount").cast(pl.String)
    cut = pl.col("currency").replace_strict(digits, return_dtype=pl.Int64)
    rounded = text.str.head(text.str.len_chars() - 5 + pl.when(cut > 0).then(cut + 1).otherwise(0))
    exact = [name for name in ("revenue_amount", "exact_amount") if name in frame.columns]
    return frame.with_columns(
        rounded.alias("share_amount"),
        pl.col(exact).cast(pl.String).str.replace(r"\.?0+$", ""),
        cs.date().dt.to_string("iso"),
    )


def _file_stem(partner_id: str) -> str:
    """The partner's id as a file name: what is no letter, digit, dash, dot or underscore becomes %XX."""
    safe = "".join(c if c.isalnum() or c in "-_." else "".join(f"%{byte:02X}" for byte in c.encode()) for c in partner_id)
    return f"%{ord('.'):02X}{safe[1:]}" if safe.startswith(".") else safe


def _write(path: Path, content: bytes) -> Path:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
    return path
