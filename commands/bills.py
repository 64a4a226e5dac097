"""The month: bill run, settlement, metrics."""

from __future__ import annotations

import typer

import pipelines.bill_run
import pipelines.measure_revenue
import pipelines.settle
from commands.terminal import (
    HERE,
    INVOICE_COLUMNS,
    Format,
    FormatOption,
    PeriodOption,
    WorkspaceOption,
    messages,
    open_workspace,
    progress,
    show,
)
from schemas.period import Period

app = typer.Typer()
bill_app = typer.Typer(no_args_is_help=True, help="The bill run: preview, draft, finalize.")
app.add_typer(bill_app, name="bill")


@bill_app.command("preview")
def preview_bill(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Compute the invoices of a period from the ledger as it is now. Writes nothing.

    Example: `boss bill preview --period 2026-10`
    """
    with progress("bill run") as status:
        bill_run = pipelines.bill_run.preview(open_workspace(workspace), Period.parse(period), status.update)
    show_bill_run(bill_run, format)
    messages.print(bill_run.message)


@bill_app.command("run")
def run_bill(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Compute the invoices of a period and keep them as the draft that `finalize` takes.

    Example: `boss bill run --period 2026-10`
    """
    with progress("bill run") as status:
        bill_run = pipelines.bill_run.run(open_workspace(workspace), Period.parse(period), status.update)
    show_bill_run(bill_run, format)
    messages.print(bill_run.message)


@bill_app.command("finalize")
def finalize_bill(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Make the draft final: numbers, postings, documents. The second time changes nothing.

    Example: `boss bill finalize --period 2026-10`
    """
    with progress("bill run") as status:
        final = pipelines.bill_run.finalize(open_workspace(workspace), Period.parse(period), status.update)
    show(final.invoices.select(INVOICE_COLUMNS) if format is Format.TABLE else final.invoices, format)
    messages.print(final.message)


@app.command()
def settle(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Make the partners' statements of a finalised period.

    Example: `boss settle --period 2026-10`
    """
    settlement = pipelines.settle.settle(open_workspace(workspace), Period.parse(period))
    show(settlement.statements, format)
    for path in settlement.files:
        messages.print(str(path))


@app.command()
def metrics(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Show MRR and its five movements, ARPA and usage revenue of a period.

    Example: `boss metrics --period 2026-10`
    """
    measured = pipelines.measure_revenue.measure_revenue(open_workspace(workspace), Period.parse(period))
    if format is Format.TABLE:
        show(measured.movements, format)
    show(measured.summary, format)


def show_bill_run(bill_run: pipelines.bill_run.BillRun, format: Format) -> None:
    """Invoices for programs; for people also what became of every account and the totals beside the ledger's."""
    if format is not Format.TABLE:
        return show(bill_run.invoices, format)
    show(bill_run.outcomes, format)
    typer.echo("\nInvoices")
    show(bill_run.invoices.select(INVOICE_COLUMNS), format)
    typer.echo("\nThe ledger up to the run's positions, and where its amounts went")
    show(bill_run.totals, format)
    return None
