"""`boss catalog`: the price book and the roster."""

from __future__ import annotations

import polars as pl
import typer

import catalog.diff
import pipelines.catalog_test
from commands.terminal import HERE, Format, FormatOption, WorkspaceOption, messages, show
from pipelines.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="The price book and the roster: check, compare, publish, test.")


@app.command()
def check(workspace: WorkspaceOption = HERE) -> None:
    """Read catalog/ and roster/ and report every mistake with its place. Changes nothing."""
    book, roster, examples = pipelines.catalog_test.read_workspace_examples(Workspace.open(workspace))
    messages.print(
        f"Good: {book.meters.height} meters, {book.plans.height} plans, {book.prices.height} price versions, "
        f"{roster.accounts.height} accounts, {roster.subscriptions.height} subscriptions, {len(examples)} examples."
    )


@app.command()
def diff(workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Show what publishing would change. Changes nothing."""
    opened = Workspace.open(workspace)
    book, roster = opened.read_sources()
    published = opened.published()
    changes = [catalog.diff.diff_books(published[0], book), catalog.diff.diff_rosters(published[1], roster)]
    show(pl.concat(changes), format)


@app.command()
def publish(workspace: WorkspaceOption = HERE) -> None:
    """Freeze catalog/ and roster/ as new versions. Workers take them with their next batch."""
    book, roster = Workspace.open(workspace).publish()
    messages.print(f"Price book version {book.version}, roster version {roster.version}.")


@app.command("test")
def run_examples(workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Rate the examples written in catalog/ and compare with what they expect. Changes nothing; exits with 1 when one fails."""
    tested = pipelines.catalog_test.run_workspace_examples(Workspace.open(workspace))
    show(tested.results, format)
    messages.print(tested.message)
    if tested.failed:
        raise typer.Exit(1)
