"""Looking: explain an invoice line, query the ledger."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import pipelines.explain
import pipelines.explain_due
import pipelines.sql_access
from commands.terminal import HERE, Format, FormatOption, WorkspaceOption, open_workspace, show

app = typer.Typer()


@app.command()
def explain(
    invoice: Annotated[str, typer.Argument(help="Invoice number.")],
    line: Annotated[int | None, typer.Argument(help="Line of the invoice; without it the lines are listed.")] = None,
    workspace: WorkspaceOption = HERE,
    limit: Annotated[int, typer.Option(help="Rows of the ledger shown.")] = 20,
    format: FormatOption = Format.TABLE,
) -> None:
    """Explain an invoice line: price version, tiers, each event with its aggregate, and what partners and carriers get.

    Example: `boss explain INV-2026-000001 1`
    """
    opened = open_workspace(workspace)
    if line is None:
        show(pipelines.explain.explained_lines(opened.ledger(), invoice), format)
        if format is Format.TABLE:
            typer.echo("\nFrom the lines to the amount due")
            show(pipelines.explain_due.due_steps(opened.ledger(), invoice), format)
        return None
    explanation = pipelines.explain.explain(opened, invoice, line, limit=limit)
    if format is not Format.TABLE:
        return show(explanation.postings, format)
    for title, frame in explanation.sections():
        typer.echo(f"\n{title}")
        show(frame, format)
    typer.echo(f"\n{explanation.conclusion}")
    return None


@app.command()
def sql(
    text: Annotated[str, typer.Argument(help="One SELECT.")],
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Query the ledger, read-only: postings, journal, margin, rejects, invoices, lines, statements, accounts, prices ...

    Example: `boss sql "select price_id, sum(amount) from postings group by all"`
    """
    if format is Format.TABLE:
        return show(pipelines.sql_access.query_workspace(open_workspace(workspace), text), format)
    return pipelines.sql_access.write_query(open_workspace(workspace), text, format.value, sys.stdout.buffer)
