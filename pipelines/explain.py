"""From an invoice line down to the events: which rows made it, at which tier of which price version, and how it was rounded.

The rows behind a line are found the way the bill run found them, by the positions of its run, so they are the same rows for
ever, whatever has landed since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl

from catalog.versions import load_book, load_roster
from invoicing.queries import load_query
from ledger.book import Ledger
from pipelines.bill_stages import prepare_cut
from pipelines.explain_limit import LIMIT_STEPS, is_limit, limit_steps
from pipelines.warehouse import add_table, open_warehouse, run_query
from pipelines.workspace import Workspace
from rating.limits.compile import compile_limits
from rating.terms import compile_terms
from schemas.billing import POSITIONS
from schemas.errors import BrokenPromise, NoSuchInvoice
from schemas.frames import AMOUNT, FrameSchema
from schemas.ledger import POSTINGS
from schemas.money import minor_unit_digits, round_money
from schemas.period import Period

STEPS = FrameSchema("STEPS", {"step": pl.String, "amount": AMOUNT})
"""From one amount to another, in order. One row per step."""


@dataclass(frozen=True)
class Explanation:
    """Why one invoice line is what it is."""

    invoice_no: str
    line: pl.DataFrame  # its row of LINES
    terms: pl.DataFrame  # the price version, one row
    tiers: pl.DataFrame  # tiers touched, with the rows and amounts that ended in each
    postings: pl.DataFrame  # the first rows behind the line, in the order they were posted
    parties: pl.DataFrame  # what partners and carriers get of the events shown, in the same order
    omitted: int  # rows behind the line that are not in `postings`
    omitted_amount: Decimal
    steps: pl.DataFrame  # STEPS from the exact sum to the total of the line
    limit: pl.DataFrame  # LIMIT_STEPS of what a limit made; empty for usage and fees

    def sections(self) -> list[tuple[str, pl.DataFrame]]:
        """Title and frame of each part, from the line down."""
        shown, rows = self.postings.height, self.postings.height + self.omitted
        price = [("Price version", self.terms), ("Tiers touched", self.tiers)]
        parties = [("What partners and carriers get of them", self.parties)] if self.parties.height else []
        return [
            (f"Invoice {self.invoice_no}, line {self.line['line'][0]}", self.line),
            *(price if self.limit.is_empty() else [("What was agreed and what counted", self.limit)]),
            (f"Rows of the ledger ({shown} of {rows})", self.postings),
            *parties,
            ("From the rows to the line", self.steps),
        ]

    @property
    def conclusion(self) -> str:
        """One sentence that ends the explanation."""
        row = self.line.row(0, named=True)
        rest = f", of which {self.omitted} rows over {_short(self.omitted_amount)} are not shown," if self.omitted else ""
        rows = "1 row adds" if row["events"] == 1 else f"{row['events']} rows{rest} add"
        return (
            f"{rows} up to {_short(row['exact_amount'])} {row['currency']}; "
            f"the line says {round_money(row['net_amount'], row['currency'])} {row['currency']}."
        )


def explain(workspace: Workspace, invoice_no: str, line: int, *, limit: int = 20) -> Explanation:
    """Explain a line of a final invoice, showing at most `limit` rows of the ledger.

    Raises:
        NoSuchInvoice: There is no such invoice or line.
        BrokenPromise: The rows do not add up to the line.
    """
    ledger = workspace.ledger()
    invoice = find_invoice(ledger, invoice_no)
    period, account = invoice["period"], invoice["account_id"]
    is_line = (pl.col("period") == period) & (pl.col("account_id") == account) & (pl.col("line") == line)
    found = ledger.lines.scan().filter(is_line).collect()
    if found.is_empty():
        raise NoSuchInvoice(invoice_no, line)
    runs = ledger.runs.scan().filter(pl.col("period") == period).collect()
    book_version, roster_version = runs.select("book_version", "roster_version").row(0)
    book, roster = load_book(workspace.books, book_version), load_roster(workspace.rosters, roster_version)
    with open_warehouse(ledger, book, roster) as connection:
        prepare_cut(connection, Period.parse(period), POSTINGS.empty(), POSITIONS.select(runs))
        told = _explain(connection, invoice_no, found, limit)
        row = found.row(0, named=True)
        if not is_limit(row):
            return told
        limits = compile_limits(book, roster, compile_terms(book, roster))
        starts = Period.parse(workspace.settings.billing.starts)
        return replace(told, limit=limit_steps(connection, row, limits, starts))


def find_invoice(ledger: Ledger, invoice_no: str) -> dict[str, Any]:
    """The invoice's row of INVOICES. Raises NoSuchInvoice."""
    found = ledger.invoices.scan().filter(pl.col("invoice_no") == invoice_no).collect()
    if found.is_empty():
        raise NoSuchInvoice(invoice_no)
    return found.row(0, named=True)


def explained_lines(ledger: Ledger, invoice_no: str) -> pl.DataFrame:
    """LINES of one invoice, in order. Raises NoSuchInvoice."""
    lines = ledger.lines.scan().join(
        ledger.invoices.scan().filter(pl.col("invoice_no") == invoice_no).select("period", "account_id"),
        on=["period", "account_id"],
    )
    rows = lines.collect().sort("line")
    if rows.is_empty():
        raise NoSuchInvoice(invoice_no)
    return rows


def _explain(connection: duckdb.DuckDBPyConnection, invoice_no: str, line: pl.DataFrame, limit: int) -> Explanation:
    add_table(connection, "explained_line", line)
    connection.execute(f"create or replace view line_rows as {load_query('line_rows')}")
    postings = run_query(connection, load_query("line_postings"), {"rows": limit})
    add_table(connection, "explained_rows", postings)
    tiers = run_query(connection, load_query("line_tiers"))
    row = line.row(0, named=True)
    events, amount = int(tiers["events"].sum()), sum(tiers["amount"].to_list(), Decimal(0))
    if (events, amount) != (row["events"], row["exact_amount"]):
        raise BrokenPromise(
            f"{invoice_no} line {row['line']} stands for {row['events']} rows and {row['exact_amount']}, "
            f"but the ledger has {events} rows and {amount}"
        )
    return Explanation(
        invoice_no=invoice_no,
        line=line,
        terms=run_query(connection, load_query("line_terms")),
        tiers=tiers,
        postings=postings,
        parties=run_query(connection, load_query("line_parties")),
        omitted=events - postings.height,
        omitted_amount=amount - sum(postings["amount"].to_list(), Decimal(0)),
        steps=_steps(row["exact_amount"], row["net_amount"], row["tax_amount"], row["currency"]),
        limit=LIMIT_STEPS.empty(),
    )


def _steps(exact: Decimal, net: Decimal, tax: Decimal, currency: str) -> pl.DataFrame:
    digits = minor_unit_digits(currency)
    steps = [
        ("sum of the rows, exact", exact),
        (f"rounded half-up to {digits} decimals: the line's net amount", net),
        ("difference of the rounding", net - exact),
        ("tax: this line's part of the tax of its class", tax),
        ("net and tax", net + tax),
    ]
    return STEPS.build([{"step": step, "amount": amount} for step, amount in steps])


def _short(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
