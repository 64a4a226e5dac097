"""`boss catalog`: the price book and the roster."""

from __future__ import annotations

from typing import Annotated

import polars as pl
import typer

import catalog.diff
import pipelines.affected
import pipelines.catalog_test
from commands.terminal import HERE, Format, FormatOption, WorkspaceOption, messages, show
from pipelines.workspace import Workspace

app = typer.Typer()
catalog_app = typer.Typer(no_args_is_help=True, help="The price book and the roster: check, compare, publish, test.")
app.add_typer(catalog_app, name="catalog")


@catalog_app.command()
def check(workspace: WorkspaceOption = HERE) -> None:
    """Read catalog/ and roster/ and report every mistake with its place. Changes nothing."""
    book, roster, examples = pipelines.catalog_test.read_workspace_examples(Workspace.open(workspace))
    messages.print(
        f"Good: {book.meters.height} meters, {book.plans.height} plans, {book.prices.height} price versions, "
        f"{roster.accounts.height} accounts, {roster.subscriptions.height} subscriptions, {len(examples)} examples."
    )


@catalog_app.command()
def diff(
    workspace: WorkspaceOption = HERE,
    affected: Annotated[
        bool, typer.Option("--affected", help="Only the changed prices, and how many customers have each.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what publishing would change, and how many customers have each price that changes. Changes nothing."""
    opened = Workspace.open(workspace)
    old, new = opened.published(), opened.read_sources()
    if not affected:
        show(pl.concat([catalog.diff.diff_books(old[0], new[0]), catalog.diff.diff_rosters(old[1], new[1])]), format)
    if affected or format is Format.TABLE:
        customers = pipelines.affected.count_affected(old, new)
        if not affected and customers.height:
            typer.echo("\nWho has the prices that change")
        if affected or customers.height:
            show(customers, format)


@catalog_app.command()
def publish(workspace: WorkspaceOption = HERE) -> None:
    """Freeze catalog/ and roster/ as new versions. Workers take them with their next batch."""
    book, roster = Workspace.open(workspace).publish()
    messages.print(f"Price book version {book.version}, roster version {roster.version}.")


@catalog_app.command("test")
def run_examples(workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Rate the examples written in catalog/ and compare with what they expect. Changes nothing; exits with 1 when one fails."""
    tested = pipelines.catalog_test.run_workspace_examples(Workspace.open(workspace))
    show(tested.results, format)
    messages.print(tested.message)
    if tested.failed:
        raise typer.Exit(1)
