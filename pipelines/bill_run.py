"""The bill run: preview computes and writes nothing, run writes a draft, finalize makes it final.

A run is a function of positions: it bills what the snapshot holds and no finalised run has billed. Finalising appends the
run's own postings, lines, invoices and outcomes, and last its row in `runs`: only then is it final. A crash in between is
mended by finalising again, which skips what is there. docs/decisions/0002-bill-run-positions.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time

import duckdb
import polars as pl

from catalog.versions import load_book, load_roster
from invoicing.documents import write_documents
from invoicing.numbering import number_invoices, read_numbers
from invoicing.queries import LEDGER_CHECKS
from invoicing.seller import Seller
from ledger.book import Ledger
from ledger.lock import writer_lock
from ledger.table import LedgerTable, source_id
from pipelines.bill_draft import BillRun as BillRun
from pipelines.bill_draft import read_draft, write_draft
from pipelines.bill_stages import (
    TOTALS,
    compute_run,
    prepare_cut,
    read_reached,
    read_run_rows,
    read_used_keys,
    require_none,
    run_stream,
)
from pipelines.limit_costs import count_postings, read_costs
from pipelines.warehouse import add_table, open_warehouse
from pipelines.workspace import Workspace
from rating.limits.apply import CHARGES as LIMIT_CHARGES
from rating.limits.apply import post_limits
from rating.limits.compile import Limits, compile_limits
from rating.recurring import post_fees
from rating.terms import compile_terms
from rating.zero_usage import post_zero_usage
from schemas.billing import INVOICES, POSITIONS, RUNS
from schemas.errors import PeriodClosed, Refused
from schemas.frames import INSTANT
from schemas.ledger import POSTINGS
from schemas.period import Period

Progress = Callable[[str], object]
"""Called with a few words on what is being done."""


def silent(doing: str) -> None:
    """No progress is shown."""


def preview(workspace: Workspace, period: Period, progress: Progress = silent) -> BillRun:
    """Compute the run for `period` from the ledger as it is now. Writes nothing.

    Raises:
        PeriodClosed: The period is final.
        Refused: A later period is final, or finalising another one was interrupted.
        BrokenPromise: The run's totals differ from the ledger's.
    """
    ledger = workspace.ledger()
    after = _require_next(workspace, ledger, period)
    book, roster = workspace.load()
    version = ledger.postings.version()
    progress(f"{period}: reading the ledger")
    with open_warehouse(ledger, book, roster, version=version) as connection:
        starts = Period.parse(workspace.settings.billing.starts)
        limits = compile_limits(book, roster, compile_terms(book, roster))
        added = _post(connection, ledger, period, limits, starts)
        progress(f"{period}: making lines and invoices")
        reached = read_reached(connection, period)
        computed = compute_run(connection, period, added, reached, billing_dates(roster.accounts, period))
    return BillRun(
        message=f"{_counts(computed.outcomes)} Nothing was written.",
        period=period,
        after=after,
        ledger_version=version,
        book_version=book.version,
        roster_version=roster.version,
        series=workspace.settings.billing.series,
        seller=_seller(workspace),
        postings=computed.postings,
        positions=computed.positions,
        lines=computed.lines,
        invoices=computed.invoices,
        outcomes=computed.outcomes,
        totals=computed.totals,
    )


def run(workspace: Workspace, period: Period, progress: Progress = silent) -> BillRun:
    """Compute the run and keep it as the draft of its period; `changed` is False when the draft was the same already."""
    with writer_lock(workspace.runs_folder, exclusive=True):
        computed = preview(workspace, period, progress)
        changed = write_draft(computed, workspace.runs_folder)
        done = f"The draft is in {workspace.runs_folder / str(period)}." if changed else "The draft was the same already."
        return replace(computed, changed=changed, message=f"{_counts(computed.outcomes)} {done}")


def finalize(workspace: Workspace, period: Period, progress: Progress = silent) -> BillRun:
    """Make the draft of `period` final, exactly as it was computed, and write its documents.

    Usage that has arrived since the draft is billed by the next run. Doing it again adds nothing and writes only documents
    that are missing.

    Raises:
        Refused: There is no draft, it is older than a finalised run, or a later period is final.
        BrokenPromise: The draft does not agree with the ledger; nothing was written.
        Fenced: Somebody else finalised the period at this moment.
    """
    with writer_lock(workspace.runs_folder, exclusive=True):
        ledger = workspace.ledger()
        changed = period not in final_periods(ledger)
        draft = read_draft(period, workspace.runs_folder) if changed else _read_final(workspace, ledger, period)
        if changed:
            _require_current(workspace, ledger, draft)
            progress(f"{period}: checking the draft against the ledger")
            invoices = _numbered(ledger, draft)
            _check(workspace, ledger, draft, invoices)
            _append_all(ledger, draft, invoices)
        final = of_period(ledger.invoices, period)
        folder = workspace.invoices_folder / str(period)
        documents = _write_documents(workspace, ledger, draft, final, progress)
        done = f"{period} is final." if changed else f"{period} was final already; nothing changed."
        written = f" {documents} documents written to {folder}." if documents else ""
        return replace(draft, invoices=final, changed=changed, message=f"{_counts(draft.outcomes)} {done}{written}")


def final_periods(ledger: Ledger) -> list[Period]:
    """Periods with a row in `runs`, in order."""
    names = ledger.runs.scan().select(pl.col("period").unique()).collect()["period"].to_list()
    return sorted(map(Period.parse, names))


def interrupted_periods(workspace: Workspace, ledger: Ledger) -> list[Period]:
    """Periods with a draft of which something was appended, but not the rows in `runs` that make them final."""
    drafted = sorted(Period.parse(path.parent.name) for path in workspace.runs_folder.glob("*/run.json"))
    final = final_periods(ledger)
    tables = (ledger.postings, ledger.lines, ledger.invoices, ledger.outcomes)
    return [
        period
        for period in drafted
        if period not in final and any(table.position(_source(period)) is not None for table in tables)
    ]


def of_period(table: LedgerTable, period: Period) -> pl.DataFrame:
    """Rows of one period, in the order of their columns."""
    return table.scan().filter(pl.col("period") == str(period)).collect().sort(table.sort_by)


def billing_dates(accounts: pl.DataFrame, period: Period) -> pl.DataFrame:
    """One row per account: account_id, issue_date, due_date, taxed_at.

    An invoice is issued on the day after the account's usage period ends, so the same run always bears the same date; the tax
    rates in force on that day apply.
    """
    month_after = datetime.combine(period.next().first_day, time())
    days_after = pl.duration(days=pl.col("billing_day").cast(pl.Int64) - 1)
    issued = pl.lit(month_after.date()) + days_after
    return accounts.select(
        "account_id",
        issue_date=issued,
        due_date=issued + pl.duration(days=pl.col("payment_days").cast(pl.Int64)),
        taxed_at=issued.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(INSTANT),
    )


def _source(period: Period) -> str:
    """Under which every table keeps that the run of a period has been appended."""
    return source_id(run_stream(period), 0)


def _require_next(workspace: Workspace, ledger: Ledger, period: Period) -> Period | None:
    """The last finalised period, if `period` may come after it."""
    final = final_periods(ledger)
    if period in final:
        raise PeriodClosed(period)
    if final and period < final[-1]:
        raise Refused(
            f"Period {final[-1]} is final, so {period} cannot be billed any more. Its usage is billed with the next period."
        )
    for other in interrupted_periods(workspace, ledger):
        raise Refused(f"Finalising {other} was interrupted. Finish it first with `boss bill finalize --period {other}`.")
    return final[-1] if final else None


def _post(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, period: Period, limits: Limits, starts: Period
) -> pl.DataFrame:
    """POSTINGS of the run: recurring fees, then fees due at zero usage, then what limits make of both and of usage."""
    posted = read_run_rows(connection)
    _require_final(posted, ledger)
    recurring, limited = pl.col("charge") == "recurring", pl.col("charge").is_in(LIMIT_CHARGES)
    fees = post_fees(period, limits.terms, posted.filter(recurring), starts)
    used = read_used_keys(connection)
    zero = post_zero_usage(period, limits.terms, used, posted.filter(~recurring & ~limited), fees.height)
    added, made = pl.concat([fees, zero]), posted.filter(limited)
    if limits.parties.is_empty() and made.is_empty():
        return added
    count_postings(connection, added)
    costs = read_costs(connection, limits, starts, period)
    return pl.concat([added, post_limits(period, costs, limits, made, starts, added.height)])


def _require_final(posted: pl.DataFrame, ledger: Ledger) -> None:
    """Rows of a run that is not final, without its draft to finish it from: the runs folder was lost half-way."""
    unknown = set(posted["stream"].unique()) - {run_stream(period) for period in final_periods(ledger)}
    for stream in sorted(unknown):
        raise Refused(
            f"The ledger holds rows of {stream}, which is not final, and its draft is gone. Put runs/ back from a backup."
        )


def _require_current(workspace: Workspace, ledger: Ledger, draft: BillRun) -> None:
    """The draft must follow the run that is the last one now, and no other may be half final."""
    final = final_periods(ledger)
    last = final[-1] if final else None
    if draft.after != last:
        raise Refused(
            f"The draft of {draft.period} is older than the final run of {last}. "
            f"Run `boss bill run --period {draft.period}` again."
        )
    for other in interrupted_periods(workspace, ledger):
        if other != draft.period:
            raise Refused(f"Finalising {other} was interrupted. Finish it first with `boss bill finalize --period {other}`.")


def _numbered(ledger: Ledger, draft: BillRun) -> pl.DataFrame:
    """The draft's invoices with their numbers; those they already have when an earlier attempt got that far."""
    given = of_period(ledger.invoices, draft.period)
    if given.height:
        return given
    return number_invoices(draft.invoices, ledger.invoices.scan().collect(), draft.series)


def _check(workspace: Workspace, ledger: Ledger, draft: BillRun, invoices: pl.DataFrame) -> None:
    """Every posting at or below the draft's positions is billed once by all runs together; numbers have no gap."""
    book = load_book(workspace.books, draft.book_version)
    roster = load_roster(workspace.rosters, draft.roster_version)
    posted = ledger.postings.position(_source(draft.period)) is not None
    others = ledger.invoices.scan().filter(pl.col("period") != str(draft.period)).collect()
    with open_warehouse(ledger, book, roster) as connection:
        prepare_cut(connection, draft.period, POSTINGS.empty() if posted else draft.postings, draft.positions)
        add_table(connection, "draft_lines", draft.lines)
        add_table(connection, "draft_outcomes", draft.outcomes)
        add_table(connection, "failures", draft.outcomes.filter(pl.col("outcome") == "failed").select("account_id", "reason"))
        add_table(connection, "numbered", read_numbers(pl.concat([others, INVOICES.select(invoices)])))
        for check in LEDGER_CHECKS:
            require_none(connection, check, draft.period)


def _read_final(workspace: Workspace, ledger: Ledger, period: Period) -> BillRun:
    """A final run as the ledger tells it, so that its documents can be written again even when its draft is gone.

    The seller is the draft's, or the present one without a draft; postings and totals stay empty.
    """
    try:
        return replace(read_draft(period, workspace.runs_folder), invoices=of_period(ledger.invoices, period))
    except Refused:
        runs = of_period(ledger.runs, period)
        versions = runs.row(0, named=True)
    return BillRun(
        period=period,
        after=None,
        ledger_version=versions["ledger_version"],
        book_version=versions["book_version"],
        roster_version=versions["roster_version"],
        series=workspace.settings.billing.series,
        seller=_seller(workspace),
        postings=POSTINGS.empty(),
        positions=POSITIONS.select(runs),
        lines=of_period(ledger.lines, period),
        invoices=of_period(ledger.invoices, period),
        outcomes=of_period(ledger.outcomes, period),
        totals=TOTALS.empty(),
    )


def _write_documents(workspace: Workspace, ledger: Ledger, draft: BillRun, invoices: pl.DataFrame, progress: Progress) -> int:
    return write_documents(
        invoices,
        of_period(ledger.lines, draft.period),
        load_roster(workspace.rosters, draft.roster_version).accounts,
        draft.seller,
        workspace.invoices_folder / str(draft.period),
        progress=lambda done, total: progress(f"{draft.period}: document {done} of {total}"),
    )


def _seller(workspace: Workspace) -> Seller:
    company = workspace.settings.company
    return Seller(company.name, company.address, company.tax_id, company.bank, company.email)


def _counts(outcomes: pl.DataFrame) -> str:
    """3 invoiced, 1 with nothing due, 1 failed."""
    counts = dict(outcomes["outcome"].value_counts().iter_rows())
    invoiced, idle, failed = (counts.get(name, 0) for name in ("invoiced", "nothing_due", "failed"))
    return f"{invoiced} invoiced, {idle} with nothing due, {failed} failed."


def _append_all(ledger: Ledger, draft: BillRun, invoices: pl.DataFrame) -> None:
    """Append what is not there yet. The order matters: `runs` last, it makes the rest count."""
    period = str(draft.period)
    runs = draft.positions.with_columns(
        period=pl.lit(period),
        ledger_version=pl.lit(draft.ledger_version, pl.Int64),
        book_version=pl.lit(draft.book_version, pl.Int32),
        roster_version=pl.lit(draft.roster_version, pl.Int32),
    )
    source = _source(draft.period)
    parts = [
        (ledger.postings, draft.postings, draft.postings.height - 1),
        (ledger.lines, draft.lines, 0),
        (ledger.invoices, invoices, 0),
        (ledger.outcomes, draft.outcomes, 0),
        (ledger.runs, RUNS.select(runs), 0),
    ]
    for table, frame, last in parts:
        if last < 0:
            continue
        if table.position(source) is None:
            table.append(frame, expected={source: None}, reached={source: last})
        elif "period" in frame.columns and not of_period(table, draft.period).equals(frame.sort(table.sort_by)):
            raise Refused(
                f"The ledger holds {table.path.name} of {period} from an interrupted attempt with another draft. "
                f"Put runs/{period} back from a backup and finalize again."
            )
