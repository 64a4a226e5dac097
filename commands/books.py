"""`boss ledger`: check it, verify it, keep it in order."""

from __future__ import annotations

from typing import Annotated

import typer

import pipelines.checks
from commands.terminal import (
    HERE,
    Format,
    FormatOption,
    WorkspaceOption,
    messages,
    open_workspace,
    progress,
    show,
)
from pipelines.checks import AUDIT_DAYS
from schemas.period import Period

app = typer.Typer()
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger: check and verify it, compact closed months, clean up.")
app.add_typer(ledger_app, name="ledger")


@ledger_app.command("check")
def check_ledger(workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Compare what must agree: ledger, lines and invoices, balances, statements and shares, debits and credits.

    Exits with 1 when something differs. Example: `boss ledger check`
    """
    results = pipelines.checks.run_checks(open_workspace(workspace))
    show(results, format)
    if not results["agrees"].all():
        raise typer.Exit(1)


@ledger_app.command("stats")
def ledger_stats(workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Show rows, files and bytes of the ledger per month."""
    show(pipelines.checks.ledger_stats(open_workspace(workspace)), format)


@ledger_app.command("compact")
def compact_ledger(
    period: Annotated[str | None, typer.Option(help="Only this month, and all of it.", metavar="YYYY-MM")] = None,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Rewrite many small files as few sorted ones. Amounts and positions stay as they are; workers run on.

    Without a period: closed months as a whole, once, and small files of the others when there are many. Run it every hour.

    Examples: `boss ledger compact`, `boss ledger compact --period 2026-10`
    """
    opened = open_workspace(workspace)
    with progress("compacting") as status:
        if period is None:
            compacted = pipelines.checks.compact_ledger(opened, status.update)
        else:
            compacted = pipelines.checks.compact_month(opened, Period.parse(period))
    if compacted.height:
        show(compacted, format)
    messages.print(f"{compacted['files'].sum()} files rewritten." if compacted.height else "Nothing to gain.")


@ledger_app.command("verify")
def verify_ledger(
    workspace: WorkspaceOption = HERE,
    head: Annotated[list[str] | None, typer.Option(help="A head printed earlier; must still be in the chain.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Compare every file, position and commit with the chain of digests, and print where each table's chain stands.

    Note the heads down elsewhere: with them a later run shows that nothing before them was rewritten. Exits with 1 when
    something was changed, and then prints what. Example: `boss ledger verify --head postings/1234/9f86d0...`
    """
    with progress("verifying") as status:
        verified = pipelines.checks.verify_ledger(open_workspace(workspace), head or [], status.update)
    if format is Format.TABLE or verified.findings.is_empty():
        show(verified.heads, format)
    if not verified.findings.is_empty():
        messages.print(f"{verified.findings.height} findings: the ledger is not what was committed.")
        show(verified.findings, format)
        raise typer.Exit(1)


@ledger_app.command("vacuum")
def vacuum_ledger(
    workspace: WorkspaceOption = HERE,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the files; without it they are only listed.")] = False,
    keep_days: Annotated[int, typer.Option(help="Days to keep files that a compaction replaced.")] = AUDIT_DAYS,
    below_audit_window: Annotated[bool, typer.Option("--below-audit-window", help="Yes, fewer days than that.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """List files that the ledger needs no more: of commits that did not happen, and replaced before the audit window.

    Example: `boss ledger vacuum`, then `boss ledger vacuum --delete`
    """
    with progress("looking at files"):
        removals = pipelines.checks.vacuum_ledger(
            open_workspace(workspace), keep_days, delete=delete, below_audit_window=below_audit_window
        )
    show(removals, format)
    messages.print(f"{removals.height} files, {removals['bytes'].sum():,} bytes {'deleted' if delete else 'could be deleted'}.")
